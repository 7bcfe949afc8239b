"""A run moves between homes whole, in parts and again, or nothing changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from branchtrack import control, trust
from branchtrack.bundles import merges
from branchtrack.bundles.tensors import Arrivals
from branchtrack.config import Config
from branchtrack.control.trials import cancelling
from branchtrack.core.records import Node
from branchtrack.db import audit, nodes, runs, seals, tables
from branchtrack.db.browsing import pyramids
from branchtrack.db.browsing.tables import metric_pyramids, metric_summaries
from branchtrack.db.deletion import purging
from branchtrack.db.engine import Database
from branchtrack.db.orders import trials
from branchtrack.db.storage import thinning
from branchtrack.errors import InvalidInput
from branchtrack.retention.sweeps import Sweep
from tests.bundles.homes import Home, ended_tree
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR, UNCLEAR
from tests.retention.trees import chain
from tests.trees_for_tests import Tree, make_tree

Forked = tuple[Tree, list[Node]]


def test_a_run_arrives_as_it_was(there: Home, here: Home, forked: Forked, tmp_path: Path) -> None:
    tree, line = forked
    merge = here.unbundle(there.bundle("demo", tmp_path / "b"))
    assert merge.plan.kind == "new" and merge.plan.events == 0
    assert here.problems() == []
    assert here.links(tree.run.id) == there.links(tree.run.id)
    assert here.curves(tree.run.id) == there.curves(tree.run.id) != {}
    for node in line:
        with here.database.read() as connection:
            arrived = nodes.checkpoint(connection, nodes.get(connection, node.id).state_digest)
        with there.database.read() as connection:
            original = nodes.checkpoint(connection, node.state_digest)
        assert arrived.manifest == original.manifest
        for digest, location in arrived.locations.items():
            assert here.store.read(location) == there.store.read(original.locations[digest])


def summaries_of(home: Home) -> list[tuple[object, ...]]:
    """What lists read of the metrics of a home."""
    names = ("segment_id", "name", "minimum", "maximum", "last_step", "last")
    columns = [metric_summaries.c[name] for name in names]
    with home.database.read() as connection:
        return sorted(tuple(row) for row in connection.execute(select(*columns)))


def test_each_kind_of_database_takes_and_gives_the_same(
    config: Config, database: Database, here: Home, tmp_path: Path
) -> None:
    first = Home(config, database)
    tree, line = ended_tree(first)
    tree.branch("long", line[1])
    tree.points("long", "loss", range(11, 2511))
    tree.points("long", "odd", range(2), [float("nan"), float("inf")])
    tree.end("long")
    here.unbundle(first.bundle("demo", tmp_path / "b"))
    assert here.problems() == [] and here.links(tree.run.id) == first.links(tree.run.id)
    assert str(here.curves(tree.run.id)) == str(first.curves(tree.run.id))
    assert summaries_of(here) == summaries_of(first) != []
    with here.database.transaction() as connection:
        thinning.set_pinned(connection, line[1], True, "test")
    merge = first.unbundle(here.bundle("demo", tmp_path / "back"))
    assert merge.plan.kind == "extended" and first.problems() == []
    assert first.links(tree.run.id) == here.links(tree.run.id)
    for home in (first, here):
        # A bundle has no pyramids; they are made of the blocks that it has.
        with home.database.read() as connection:
            assert connection.execute(select(metric_pyramids)).all() != []
            assert pyramids.count_missing(connection) == 0
    assert str(first.curves(tree.run.id)) == str(here.curves(tree.run.id))


def test_each_kind_of_database_takes_a_new_run(
    config: Config, database: Database, here: Home, tmp_path: Path
) -> None:
    tree, _ = ended_tree(here)
    first = Home(config, database)
    ended_tree(first, name="earlier")
    first.unbundle(here.bundle("demo", tmp_path / "b"))
    assert first.problems() == [] and first.links(tree.run.id) == here.links(tree.run.id)


def test_a_second_time_changes_nothing(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    path = there.bundle("demo", tmp_path / "b")
    here.unbundle(path)
    merge = here.unbundle(path)
    assert merge.plan.kind == "weights" and merge.plan.lacking == ()
    assert here.problems() == []


def test_a_run_that_is_here_goes_on(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    tree, line = forked
    first = there.bundle("demo", tmp_path / "first")
    here.unbundle(first)
    tree.branch("warmer", line[1])
    fork = tree.node("warmer", 10, line[1], kind="fork")
    tree.node("warmer", 20, fork, values={"loss": 3.0})
    tree.points("warmer", "loss", range(11, 21))
    tree.end("warmer")
    merge = here.unbundle(there.bundle("demo", tmp_path / "second"))
    assert merge.plan.kind == "extended" and merge.plan.events > 0
    assert here.problems() == []
    assert here.links(tree.run.id) == there.links(tree.run.id)
    assert here.curves(tree.run.id) == there.curves(tree.run.id)
    # What is here has all that the older bundle has.
    assert here.unbundle(first).plan.kind == "weights"


def test_a_branch_that_was_purged_there_goes_here_too(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    tree, line = forked
    request = control.submit(there.database, "demo/main", {"kind": "note", "text": "x"}, actor="me")
    with there.database.transaction() as connection:
        row = tables.requests
        changed = row.update().where(row.c.id == request.id).values(node_id=line[4].id)
        connection.execute(changed)
        contents = seals.renew_for_event(connection, row, request.id)
        audit.append(
            connection,
            tree.run.id,
            kind="request",
            ref=request.id,
            state=request.state,
            actor="me",
            payload=contents,
        )
    here.unbundle(there.bundle("demo", tmp_path / "first"))
    with there.database.transaction() as connection:
        purging.purge_branches(connection, [tree.branches["cooler"]], "test")
    merge = here.unbundle(there.bundle("demo", tmp_path / "second"))
    assert merge.plan.removed == ("cooler",)
    assert here.problems() == [] and here.links(tree.run.id) == there.links(tree.run.id)
    with here.database.read() as connection:
        assert runs.branch_names(connection, tree.run.id) == {"main"}


def test_a_run_that_was_purged_here_stays_away(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    path = there.bundle("demo", tmp_path / "b")
    here.unbundle(path)
    with here.database.transaction() as connection:
        purging.purge_run(connection, forked[0].run, "test")
    with pytest.raises(InvalidInput, match="was purged here"):
        here.unbundle(path)
    assert here.problems() == []


def test_a_run_whose_branches_exchanged_names_goes_on(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    tree, _ = forked
    here.unbundle(there.bundle("demo", tmp_path / "first"))
    with there.database.transaction() as connection:
        for before, after in (("main", "old"), ("cooler", "main"), ("old", "cooler")):
            branch = runs.named_branch(connection, tree.run.id, before)
            assert branch is not None
            runs.rename_branch(connection, branch, after, actor="test", reason="")
    here.unbundle(there.bundle("demo", tmp_path / "second"))
    with here.database.read() as connection:
        names = {each.id: each.name for each in runs.list_branches(connection, tree.run.id)}
    assert names == {tree.branches["main"].id: "cooler", tree.branches["cooler"].id: "main"}
    assert here.problems() == []


def test_a_run_that_went_on_differently_is_refused(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    tree, line = forked
    path = there.bundle("demo", tmp_path / "first")
    here.unbundle(path)
    for home in (there, here):
        with home.database.transaction() as connection:
            thinning.set_pinned(connection, line[1], True, "test")
    before = here.links(tree.run.id)
    with pytest.raises(
        InvalidInput, match=f"event {len(before)} is the first that differs"
    ) as info:
        here.unbundle(there.bundle("demo", tmp_path / "second"))
    assert before[-1][:12] in info.value.what
    assert there.links(tree.run.id)[-1][:12] in info.value.what
    assert here.links(tree.run.id) == before and here.problems() == []


def test_tensors_that_are_here_are_not_written_again(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    other = make_tree(here.database, here.store, "other")
    other.node("main", 20, kind="root")
    other.end("main")
    size = len(list(here.store.packs()))
    merge = here.unbundle(there.bundle("demo", tmp_path / "b"))
    assert merge.plan.present == 0 and len(merge.plan.lacking) == 3
    assert len(list(here.store.packs())) == size + 3
    assert here.problems() == []


def test_tensors_of_other_checkpoints_are_counted_as_present(
    there: Home, here: Home, tmp_path: Path
) -> None:
    for home, count in ((there, 4), (here, 2)):
        tree = make_tree(home.database, home.store, f"of-{count}")
        chain(tree, count=count)
        tree.end("main")
    merge = here.unbundle(there.bundle("of-4", tmp_path / "b"))
    # The frozen tensor of the two checkpoints that this home does not have.
    assert merge.plan.present == 1 and len(merge.plan.tensors) == 4
    assert here.problems() == []


def test_of_one_branch_the_tensors_of_its_line_are_here(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    tree, (root, ten, twenty, thirty, fork, last) = forked
    here.unbundle(there.bundle("demo/cooler", tmp_path / "branch"))
    whole = {node.id for node in (root, ten, twenty, thirty, fork, last) if not here.thinned(node)}
    # The node at 20 of the other branch has the state of the last one of this.
    assert whole == {root.id, ten.id, twenty.id, fork.id, last.id}
    assert here.thinned(thirty) == "recipe"
    assert here.problems() == []
    assert here.links(tree.run.id) == there.links(tree.run.id)
    merge = here.unbundle(there.bundle("demo", tmp_path / "all"))
    assert merge.plan.kind == "weights" and len(merge.plan.lacking) == 1
    assert here.thinned(thirty) is None and here.problems() == []


def test_weights_that_were_left_out_come_later(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    _, line = forked
    here.unbundle(there.bundle("demo", tmp_path / "record", weights=False))
    assert {here.thinned(node) for node in line} == {"recipe"}
    assert list(here.store.packs()) == [] and here.problems() == []
    here.unbundle(there.bundle("demo", tmp_path / "all"))
    assert {here.thinned(node) for node in line} == {None}
    assert here.problems() == []


def test_a_process_that_dies_before_the_rows_leaves_nothing_but_unread_packs(
    there: Home, here: Home, forked: Forked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = there.bundle("demo", tmp_path / "b")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merges, "_write", die)
        # A killed process does not clear up after itself.
        patch.setattr(Arrivals, "withdraw", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            here.unbundle(path)
    assert here.problems() == [] and len(list(here.store.packs())) == 4
    with here.database.read() as connection:
        assert runs.names(connection) == set()
        assert len(thinning.unread(connection)) == 4
    here.unbundle(path)
    assert here.problems() == []


def test_a_failure_takes_its_packs_along(
    there: Home, here: Home, forked: Forked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = there.bundle("demo", tmp_path / "b")

    def fail(*_: object) -> None:
        raise InvalidInput("file", "b", "another")

    monkeypatch.setattr(merges, "_write", fail)
    with pytest.raises(InvalidInput):
        here.unbundle(path)
    assert list(here.store.packs()) == []
    with here.database.read() as connection:
        assert thinning.unread(connection) == []


def test_what_a_sweep_takes_meanwhile_is_written_again(
    there: Home, here: Home, forked: Forked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, sweeps = Arrivals.write, [1]

    def swept(self: Arrivals, *arguments: object) -> None:
        write(self, *arguments)
        if sweeps:
            sweeps.pop()
            assert Sweep(here.database, here.store, {}, "test").collect()[0] > 0

    monkeypatch.setattr(Arrivals, "write", swept)
    here.unbundle(there.bundle("demo", tmp_path / "b"))
    assert here.problems() == []


def test_a_name_that_is_taken_is_refused_until_another_is_given(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    tree, _ = forked
    make_tree(here.database, here.store, "demo").end("main")
    path = there.bundle("demo", tmp_path / "b")
    with pytest.raises(InvalidInput, match="--name demo-2") as info:
        here.unbundle(path)
    assert info.value.field == "name"
    assert here.unbundle(path, name="from-there").plan.name == "from-there"
    assert here.problems() == [] and here.links(tree.run.id) == there.links(tree.run.id)
    # The name that was chosen here stays when the run goes on.
    with there.database.transaction() as connection:
        thinning.set_pinned(connection, forked[1][0], True, "test")
    later = there.bundle("demo", tmp_path / "later")
    assert here.unbundle(later).plan.name == "from-there"
    assert here.problems() == []


def test_what_comes_from_elsewhere_ends_the_trust_in_a_home(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    trust.mark(here.config)
    path = there.bundle("demo", tmp_path / "b")
    assert here.unbundle(path, dry_run=True).needs_trust and trust.is_trusted(here.config)
    assert here.unbundle(path).needs_trust and not trust.is_trusted(here.config)
    # Tensors alone start nothing.
    trust.mark(here.config)
    assert not here.unbundle(path).needs_trust
    # What goes on may bring other variables, with which the same command would be started.
    with there.database.transaction() as connection:
        thinning.set_pinned(connection, forked[1][0], True, "test")
    assert here.unbundle(there.bundle("demo", tmp_path / "later")).needs_trust
    assert not trust.is_trusted(here.config)


def test_a_dry_run_changes_nothing(there: Home, here: Home, forked: Forked, tmp_path: Path) -> None:
    merge = here.unbundle(there.bundle("demo", tmp_path / "b"), dry_run=True)
    assert len(merge.plan.tensors) == 4 and merge.tensor_bytes == 4 * 256
    assert list(here.store.packs()) == []
    with here.database.read() as connection:
        assert runs.names(connection) == set()


def test_numbers_of_the_first_home_are_those_that_events_speak_of(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    ended_tree(here, name="earlier")
    _, line = forked
    here.unbundle(there.bundle("demo", tmp_path / "b"))
    with here.database.read() as connection:
        arrived = nodes.get(connection, line[0].id)
    assert arrived.seq > line[-1].seq and arrived.logged_seq == line[0].seq
    # And a third home has them from the second.
    here.bundle("demo", tmp_path / "c")
    assert here.problems() == []


def test_a_trial_survives_the_journey_and_its_growth_arrives(
    there: Home, here: Home, tmp_path: Path
) -> None:
    tree, _nodes = samples.grown(there.database, there.store)
    tree.end("main")
    first = samples.ordered(there.database, there.store)
    samples.train_all(there.database, there.store, first, *CLEAR)
    here.unbundle(there.bundle("demo", tmp_path / "first"))
    assert here.problems() == []
    second = samples.ordered(there.database, there.store, name="again", repeats=3)
    samples.train_all(there.database, there.store, second, *UNCLEAR)
    merge = here.unbundle(there.bundle("demo", tmp_path / "second"))
    assert merge.plan.kind == "extended" and here.problems() == []
    assert here.links(tree.run.id) == there.links(tree.run.id)
    listed = []
    for home in (there, here):
        with home.database.read() as connection:
            listed.append(trials.of_run(connection, tree.run.id))
    assert listed[0] == listed[1]
    assert [trial.state for trial in listed[1]] == ["settled", "settled"]


def test_a_trial_that_was_settled_since_arrives_settled(
    there: Home, here: Home, tmp_path: Path
) -> None:
    tree, _nodes = samples.grown(there.database, there.store)
    tree.end("main")
    trial = samples.ordered(there.database, there.store)
    for side in [s for pair in trial.pairs for s in pair.sides if s]:
        samples.train(there.database, there.store, side.launch, 2.0 + side.branch.count("-") / 100)
    here.unbundle(there.bundle("demo", tmp_path / "first"))
    with here.database.read() as connection:
        assert trials.get(connection, trial.id).state == "running"
    cancelling.cancel_trial(there.database, trial.id, actor="ann")
    here.unbundle(there.bundle("demo", tmp_path / "second"))
    with here.database.read() as connection:
        assert trials.get(connection, trial.id).state == "cancelled"
    assert here.problems() == []
