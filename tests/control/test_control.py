"""Both ends of the channel: asked, validated, stored, answered; and launches ordered."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import func, select

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core import lifecycle
from branchtrack.core.catalog import BUILT_IN, FROZEN, MAX_STEPS
from branchtrack.core.overrides import WEIGHTS_ONLY
from branchtrack.db import audit, launches, nodes, requests, segments, tables
from branchtrack.db.engine import Database
from branchtrack.errors import (
    CheckpointDamaged,
    CheckpointMissing,
    InvalidInput,
    LaunchFailed,
    NameTaken,
    NotAnswered,
    NotFound,
    NotLive,
)
from tests.trees_for_tests import make_forked_tree, make_tree

SET_LR = {"kind": "set", "values": {"lr": "1e-3"}}


def rows(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
        }


def test_a_request_is_stored_normalised_and_waits_for_the_process(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    request = control.submit(database, "demo", SET_LR, actor="me", reason=" too high ")
    assert (request.state, request.requested) == ("accepted", {"values": {"lr": 1e-3}})
    assert (request.payload, request.reason) == ({"values": {"lr": "1e-3"}}, "too high")
    assert [r.id for r in control.poll(database, tree.segment("main").id)] == [request.id]


@pytest.mark.parametrize("value", ["nan", "-1", "abc", "inf", True])
def test_a_refused_value_is_recorded_and_never_reaches_the_process(
    database: Database, store: Store, value: Any
) -> None:
    tree = make_tree(database, store)
    with pytest.raises(InvalidInput, match="lr"):
        control.submit(database, "demo", {"kind": "set", "values": {"lr": value}}, actor="me")
    assert control.poll(database, tree.segment("main").id) == []
    with database.read() as connection:
        asked = requests.list_of_run(connection, tree.run.id)
        states = [e.state for e in audit.since(connection, tree.run.id) if e.kind == "request"]
    assert [(r.state, r.kind) for r in asked] == [("rejected", "set")]
    assert "greater than 0" in (asked[0].error or "")
    assert states == ["received", "rejected"]


def test_a_very_long_payload_is_cut_in_the_record(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with pytest.raises(InvalidInput):
        control.submit(
            database, "demo", {"kind": "set", "values": {"lr": "9" * 150_000}}, actor="me"
        )
    with database.read() as connection:
        (asked,) = requests.list_of_run(connection, tree.run.id)
    assert len(str(asked.payload)) < 5000


def test_a_run_whose_files_are_gone_is_not_ordered(sqlite_database: Database, store: Store) -> None:
    gone = {"argv": ["python", "/no/such/script.py"], "cwd": "/", "env": {}}
    _tree, made = make_forked_tree(sqlite_database, store, entry_point=gone)
    before = rows(sqlite_database)
    with pytest.raises(LaunchFailed, match="script /no/such/script.py"):
        control.create_launch(sqlite_database, store, made[1].id, actor="me", name="again")
    assert rows(sqlite_database) == before


def test_a_branch_that_nobody_trains_takes_no_request(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    tree.end("main")
    before = rows(database)
    with pytest.raises(NotLive, match="demo/cooler"):
        control.submit(database, "demo", SET_LR, actor="me")
    # Nothing but the request, with why it was refused.
    assert rows(database) == {
        **before,
        "requests": 1,
        "events": before["events"] + 2,
        "seals": before["seals"] + 3,
    }
    tree.end("cooler")
    with pytest.raises(NotLive, match="branchtrack tree demo"):
        control.submit(database, "demo/cooler", SET_LR, actor="me")


def test_a_process_without_heartbeat_takes_no_request(database: Database, store: Store) -> None:
    make_tree(database, store)
    with database.transaction() as connection:
        old = time.time() - lifecycle.SILENT_AFTER - 1
        connection.execute(tables.segments.update().values(heartbeat_at=old))
    with pytest.raises(NotLive, match="lost"):
        control.submit(database, "demo", SET_LR, actor="me")


def test_who_waits_is_told_how_the_request_ended(database: Database, store: Store) -> None:
    make_tree(database, store)
    request = control.submit(database, "demo", SET_LR, actor="me")

    def answer() -> None:
        with database.transaction() as connection:
            requests.move(connection, request.id, "applied", actor="run", step=5)
            requests.move(connection, request.id, "verified", actor="run", effective={"lr": 1e-3})

    thread = Thread(target=answer)
    thread.start()
    ended = control.wait(database, request.id, timeout=60)
    thread.join()
    assert (ended.state, ended.step, ended.effective) == ("verified", 5, {"lr": 1e-3})


def test_who_waits_too_long_is_told_that_the_request_stands(
    database: Database, store: Store
) -> None:
    make_tree(database, store)
    request = control.submit(database, "demo", {"kind": "stop"}, actor="me")
    with pytest.raises(NotAnswered, match="still be carried out"):
        control.wait(database, request.id, timeout=0.1)


def test_who_waits_for_a_process_that_ended_is_told(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    request = control.submit(database, "demo", {"kind": "stop"}, actor="me")
    tree.end("main", "failed")
    with pytest.raises(NotLive, match="ended"):
        control.wait(database, request.id, timeout=5)
    with database.read() as connection:
        assert requests.get(connection, request.id).state == "expired"


def test_what_a_closing_process_never_answered_is_ended(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    waiting = control.submit(database, "demo", SET_LR, actor="me")
    applied = control.submit(database, "demo", SET_LR, actor="me")
    with database.transaction() as connection:
        requests.move(connection, applied.id, "applied", actor="run")
        segment = tree.segment("main").id
        assert control.expire_unanswered(connection, segment, "run", "gone") == 2
        states = [requests.get(connection, r.id).state for r in (waiting, applied)]
    assert states == ["expired", "failed"]


def test_an_order_validates_verifies_and_queues(database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(database, store)
    launch = control.create_launch(
        database, store, made[1].id[:8], actor="me", settings={"lr": "5e-3"}, name="hot"
    )
    assert (launch.state, launch.overrides) == ("queued", {"lr": 5e-3})
    with database.read() as connection:
        assert nodes.get(connection, launch.fork_node_id).settings["lr"] == 5e-3
        assert segments.get(connection, launch.segment_id).status == "waiting"


def test_a_branch_that_is_not_named_gets_a_free_name(database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(database, store)
    for expected in ("main-2", "main-3"):
        launch = control.create_launch(database, store, made[1].id, actor="me")
        with database.read() as connection:
            branch = connection.execute(
                select(tables.branches.c.name).where(tables.branches.c.id == launch.branch_id)
            ).scalar_one()
        assert branch == expected


def test_a_node_at_the_last_step_leaves_nothing_to_train(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    last = tree.node("main", 40, settings={"max_steps": 40})
    before = rows(database)
    with pytest.raises(InvalidInput, match="before step 40"):
        control.create_launch(database, store, last.id, actor="me")
    assert rows(database) == before


def test_a_node_at_the_last_step_goes_on_with_a_later_one(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    known = [s.as_dict() for s in (*BUILT_IN, MAX_STEPS, FROZEN)]
    with database.transaction() as connection:
        connection.execute(tables.segments.update().values(declared=known))
    has = {"max_steps": 40, "lr_scheduler_type": "linear", "frozen": ""}
    last = tree.node("main", 40, settings=has)
    before = rows(database)
    for wrong, field in (
        ({"max_steps": 60}, "horizon"),
        ({"max_steps": 60, "horizon": "extend", "frozen": "nothing"}, "frozen"),
        ({"max_steps": 60, "horizon": "extend", "frozen": "*"}, "frozen"),
    ):
        with pytest.raises(InvalidInput) as caught:
            control.create_launch(database, store, last.id, actor="me", settings=wrong)
        assert (caught.value.field, rows(database)) == (field, before)
    longer = {"max_steps": 60, "horizon": "extend"}
    launch = control.create_launch(database, store, last.id, actor="me", settings=longer)
    with database.read() as connection:
        fork = nodes.get(connection, launch.fork_node_id)
    assert (launch.overrides, fork.settings["max_steps"]) == (longer, 60)
    assert "horizon" not in fork.settings


def test_a_fork_of_weights_that_never_trained_stays_one(database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(database, store)
    first = control.create_launch(database, store, made[1].id, actor="me", mode="weights")
    again = control.create_launch(database, store, first.fork_node_id, actor="me")
    with database.read() as connection:
        fork = nodes.get(connection, again.fork_node_id)
    assert (again.mode, fork.restored) == ("weights", WEIGHTS_ONLY)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"node_ref": "ffffffff"}, NotFound),
        ({"name": "cooler"}, NameTaken),
        ({"name": "a b"}, InvalidInput),
        ({"name": ""}, InvalidInput),
        ({"settings": {"lr": "nan"}}, InvalidInput),
        ({"settings": {"warmup": "1"}}, InvalidInput),
        ({"mode": "magic"}, InvalidInput),
        ({"reason": "x" * 2001}, InvalidInput),
    ],
)
def test_a_bad_order_changes_nothing(
    database: Database, store: Store, how: dict[str, Any], error: type[Exception]
) -> None:
    _tree, made = make_forked_tree(database, store)
    before = rows(database)
    with pytest.raises(error):
        control.create_launch(database, store, **{"node_ref": made[1].id, "actor": "me", **how})
    assert rows(database) == before


def test_a_run_without_a_command_cannot_be_started_again(database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(database, store, entry_point=None)
    with pytest.raises(LaunchFailed, match="interactive session"):
        control.create_launch(database, store, made[1].id, actor="me")


def test_a_node_with_one_flipped_byte_is_not_resumed(
    sqlite_database: Database, store: Store
) -> None:
    _tree, made = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        place = next(iter(nodes.checkpoint(connection, made[1].state_digest).locations.values()))
    pack = Path(store.describe(place.pack))
    content = bytearray(pack.read_bytes())
    content[place.offset + 17] ^= 1
    pack.write_bytes(content)
    before = rows(sqlite_database)
    with pytest.raises(CheckpointDamaged, match="another node") as caught:
        control.create_launch(sqlite_database, store, made[1].id, actor="me")
    assert caught.value.tensor == "model/weight"
    assert rows(sqlite_database) == before
    assert control.verify_node(sqlite_database, store, made[2]).digest == made[2].state_digest


def test_a_node_whose_pack_is_gone_is_not_resumed(sqlite_database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        place = next(iter(nodes.checkpoint(connection, made[1].state_digest).locations.values()))
    Path(store.describe(place.pack)).unlink()
    before = rows(sqlite_database)
    with pytest.raises(CheckpointMissing, match="Nothing was changed"):
        control.create_launch(sqlite_database, store, made[1].id, actor="me")
    assert rows(sqlite_database) == before


def test_a_manifest_that_was_changed_is_noticed(sqlite_database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(sqlite_database, store)
    with sqlite_database.transaction() as connection:
        other = select(tables.checkpoints.c.manifest).where(
            tables.checkpoints.c.digest == made[2].state_digest
        )
        connection.execute(
            tables.checkpoints.update()
            .where(tables.checkpoints.c.digest == made[1].state_digest)
            .values(manifest=connection.execute(other).scalar_one())
        )
    with pytest.raises(CheckpointDamaged, match="state digest"):
        control.verify_node(sqlite_database, store, made[1])


def test_free_text_loses_what_a_database_cannot_hold() -> None:
    assert control.clean_text("reason", " a\x00b\ud800 ") == "ab?"


def test_launches_that_wait_are_listed_oldest_first(database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(database, store)
    ordered = [control.create_launch(database, store, made[0].id, actor="me") for _ in range(2)]
    with database.read() as connection:
        assert [one.id for one in launches.unfinished(connection)] == [o.id for o in ordered]
