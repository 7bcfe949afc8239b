"""A trial goes on wherever it was: ends are noted, pairs judged, and the next ones queued once."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import pytest
from sqlalchemy import Connection

from branchtrack.checkpoints.packs import Store
from branchtrack.control.launch import CheckedOrder
from branchtrack.control.trials import advancing
from branchtrack.control.trials.advancing import advance, advance_all
from branchtrack.core.records import Launch
from branchtrack.core.trials.records import LOST
from branchtrack.db import audit, integrity
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups, launches
from branchtrack.db.orders.tables import trials as rows
from branchtrack.errors import CheckpointDamaged, CheckpointThinned
from tests.control.trials import samples

CLEAR = ((2.0, 1.90), (2.1, 1.99), (2.05, 1.96))
UNCLEAR = ((2.0, 1.9), (2.1, 2.2), (2.05, 2.0))


@pytest.fixture
def run(database: Database, store: Store) -> None:
    samples.grown(database, store)


def test_the_pairs_up_to_the_first_look_are_queued_at_once(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.ordered(database, store)
    assert [len(pair.sides) for pair in trial.pairs] == [2, 2, 2]
    with database.read() as connection:
        first = trial.pairs[0].sides[1]
        assert first is not None
        launch = launches.get(connection, first.launch)
        (group,) = groups.of_run(connection, trial.run_id)
        members = groups.members(connection, group.id)
    assert launch.overrides["lr"] == 0.005 and launch.overrides["seed"] == trial.pairs[0].seed
    assert launch.overrides["stop_at"] == 15 and launch.overrides["reshuffle"] is True
    assert (group.kind, len(members)) == ("trial", 6)
    assert len({pair.seed for pair in trial.pairs}) == 3


def test_a_trial_that_is_clear_at_the_first_look_ends_there(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.train_all(database, store, samples.ordered(database, store), *CLEAR)
    assert (trial.state, len(trial.pairs)) == ("settled", 3)
    (verdict,) = trial.verdicts
    assert verdict is not None and verdict.verdict == "helps"
    assert verdict.effect == pytest.approx(-0.1)


def test_what_is_unclear_gets_more_pairs_and_a_last_look(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.train_all(database, store, samples.ordered(database, store), *UNCLEAR)
    assert (trial.state, len(trial.pairs), trial.verdicts) == ("running", 4, (None,))
    trial = samples.train_all(database, store, trial, (2.0, 1.95))
    (verdict,) = trial.verdicts
    assert trial.state == "settled" and verdict is not None
    assert verdict.verdict == "inconclusive" and verdict.more


def test_a_change_that_is_settled_is_trained_no_more(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.ordered(database, store, settings={"lr": "x0.5,x2"})
    rows = [(*row, other) for row, (_, other) in zip(CLEAR, UNCLEAR, strict=True)]
    trial = samples.train_all(database, store, trial, *rows)
    assert trial.state == "running"
    assert [side is None for side in trial.pairs[3].sides] == [False, True, False]


def test_advancing_without_news_changes_nothing(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.ordered(database, store)
    assert advance(database, store, trial.id) == trial == samples.reread(database, trial)


def test_a_training_whose_process_died_is_trained_again(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.ordered(database, store)
    side = trial.pairs[0].sides[0]
    assert side is not None
    samples.fail(database, side.launch)
    again = advance(database, store, trial.id).pairs[0].sides[0]
    assert again is not None and again.launch not in ("", side.launch)
    assert (again.attempts, again.state) == (2, "ordered")
    trial = samples.train_all(database, store, samples.reread(database, trial), *CLEAR)
    assert trial.state == "settled"


def test_a_training_that_fails_every_time_leaves_its_pair_out(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.ordered(database, store, repeats=3)
    for _ in range(3):
        side = samples.reread(database, trial).pairs[0].sides[1]
        assert side is not None
        samples.fail(database, side.launch, "out of memory")
        advance(database, store, trial.id)
    trial = samples.reread(database, trial)
    lost = trial.pairs[0].sides[1]
    assert lost is not None and (lost.state, lost.error) == (LOST, "out of memory")
    rows = [row for row in CLEAR]
    for pair, row in zip(trial.pairs, rows, strict=True):
        for side, value in zip(pair.sides, row, strict=True):
            if side is not None and not side.is_over:
                samples.train(database, store, side.launch, value)
    (verdict,) = advance(database, store, trial.id).verdicts
    assert verdict is not None and verdict.pairs == 2


def test_a_trial_of_which_nothing_can_be_trained_fails_with_the_reason(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.ordered(database, store, repeats=3)
    for _ in range(3):
        for pair in samples.reread(database, trial).pairs:
            for side in pair.sides:
                if side is not None and not side.is_over:
                    samples.fail(database, side.launch, "no such module")
        trial = advance(database, store, trial.id)
    assert (trial.state, trial.error) == ("failed", "no such module")


def test_a_diverged_training_counts_as_the_worst_value(
    run: None, database: Database, store: Store
) -> None:
    rows = ((2.0, None), (2.1, None), (2.05, None))
    trial = samples.train_all(database, store, samples.ordered(database, store), *rows)
    (verdict,) = trial.verdicts
    assert verdict is not None and (verdict.verdict, verdict.diverged) == ("hurts", 3)


def test_several_workers_at_once_queue_every_pair_once(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.ordered(database, store)
    for pair, row in zip(trial.pairs, UNCLEAR, strict=True):
        for side, value in zip(pair.sides, row, strict=True):
            assert side is not None
            samples.train(database, store, side.launch, value)
    before = samples.branch_count(database)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: advance(database, store, trial.id), range(4)))
    assert samples.branch_count(database) == before + 2
    assert len(samples.reread(database, trial).pairs) == 4


def test_a_caller_that_dies_before_the_first_pair_loses_nothing(
    run: None, database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "branchtrack.control.trials.ordering.advance", lambda *_: (_ for _ in ()).throw(SystemExit)
    )
    with pytest.raises(SystemExit):
        samples.ordered(database, store)
    (trial,) = advance_all(database, store)
    assert len(trial.pairs) == 3


def test_a_verdict_is_an_event_and_the_record_holds(
    run: None, database: Database, store: Store
) -> None:
    trial = samples.train_all(database, store, samples.ordered(database, store), *CLEAR)
    with database.read() as connection:
        events = [e for e in audit.since(connection, trial.run_id) if e.kind == "trial"]
        assert integrity.of_run(connection, trial.run_id) == []
    assert [event.state for event in events] == ["created", "settled"]
    assert events[-1].payload["verdicts"][0]["verdict"] == "helps"


def test_pairs_of_several_nodes_take_turns(run: None, database: Database, store: Store) -> None:
    trial = samples.ordered(database, store, nodes=["demo@10", "demo@20"])
    assert [pair.step for pair in trial.pairs] == [10, 20, 10]


def test_a_node_that_is_damaged_later_fails_the_trial_with_the_reason(
    run: None, database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from branchtrack.errors import CheckpointDamaged

    trial = samples.ordered(database, store)
    damaged = CheckpointDamaged("It is damaged.", safe="", fix="")

    def refuse(*_arguments: object, **_more: object) -> None:
        raise damaged

    monkeypatch.setattr(advancing.orders, "check_order", refuse)
    trial = samples.train_all(database, store, trial, *UNCLEAR)
    assert trial.state == "failed" and "damaged" in trial.error


def test_what_is_refused_only_as_it_is_queued_fails_that_trial_alone(
    run: None, database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, other = samples.ordered(database, store), samples.ordered(database, store)
    queue = advancing.orders.queue

    def thinned(connection: Connection, order: CheckedOrder, *facts: Any) -> Launch:
        if refused.group_id == facts[2]["group"].id:
            raise CheckpointThinned("a" * 16, "weights")
        return queue(connection, order, *facts)

    for trial in (refused, other):
        for pair, row in zip(trial.pairs, UNCLEAR, strict=True):
            for side, value in zip(pair.sides, row, strict=True):
                assert side is not None
                samples.train(database, store, side.launch, value)
    monkeypatch.setattr(advancing.orders, "queue", thinned)
    first, second = advance_all(database, store)
    assert first.state == "failed" and "thinned" in first.error
    assert all(side is None or side.is_over for pair in first.pairs for side in pair.sides)
    assert second.state == "running" and len(second.pairs) == 4


def test_a_trial_that_fails_takes_what_still_waits_out_of_the_queue(
    run: None, database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = samples.ordered(database, store)
    first = trial.pairs[0].sides[0]
    assert first is not None
    samples.fail(database, first.launch)

    def refuse(*_arguments: object, **_more: object) -> None:
        raise CheckpointDamaged("It is damaged.", safe="", fix="")

    monkeypatch.setattr(advancing.orders, "check_order", refuse)
    failed = advance(database, store, trial.id)
    assert failed.state == "failed"
    assert all(side is None or side.is_over for pair in failed.pairs for side in pair.sides)
    with database.read() as connection:
        assert launches.unfinished(connection) == []


def test_a_trial_whose_run_is_purged_meanwhile_is_passed_over(
    run: None, database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = samples.ordered(database, store)
    gone = dataclasses.replace(trial, id="feed" * 4)
    monkeypatch.setattr(advancing.trials, "running", lambda _: [gone, trial])
    assert [each.id for each in advance_all(database, store)] == [trial.id]


def test_trials_that_are_over_are_left_alone(run: None, database: Database, store: Store) -> None:
    trial = samples.train_all(database, store, samples.ordered(database, store), *CLEAR)
    assert advance_all(database, store) == []
    assert replace(trial) == advance(database, store, trial.id)


def test_a_trial_whose_node_was_purged_has_failed_and_stops_no_other(
    sqlite_database: Database, store: Store
) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store)
    gone = replace(trial.spec, nodes=("0" * 16,))
    with sqlite_database.transaction() as connection:
        update = rows.update().where(rows.c.id == trial.id)
        connection.execute(update.values(spec=asdict(gone)))
    other = samples.ordered(sqlite_database, store)
    states = {each.id: each.state for each in advance_all(sqlite_database, store)}
    assert states == {trial.id: "failed", other.id: "running"}
    assert "was purged" in samples.reread(sqlite_database, trial).error
