"""A purge leaves no row but the log's, and a database that is as its log says."""

from __future__ import annotations

import time

from sqlalchemy import Connection, func, select

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Certificate, Node
from branchtrack.db import audit, certificates, integrity, refusals, requests, runs, tables
from branchtrack.db.deletion import purging
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups
from tests.trees_for_tests import Tree, make_forked_tree, make_tree

#: What remains of a run that was purged; the last three until a sweep.
REMAINING = {"runs", "events", "seals", "packs", "tensors", "checkpoints"}


def counts(connection: Connection) -> dict[str, int]:
    """How many rows each table has that has any."""
    rows = {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in tables.metadata.sorted_tables
    }
    return {name: count for name, count in rows.items() if count}


def with_everything(database: Database, store: Store) -> tuple[Tree, list[Node]]:
    """A forked tree whose branch `cooler` has a row in each table."""
    tree, line = make_forked_tree(database, store)
    request = control.submit(
        database, "demo/cooler", {"kind": "set", "values": {"lr": 0.5}}, actor="ann"
    )
    tree.points("cooler", "many", range(11, 2100))
    with database.transaction() as connection:
        requests.move(connection, request.id, "applied", actor="run", node_id=line[5].id)
        group = groups.create(connection, tree.run.id, "sweep", "fan-out", actor="ann")
        groups.add_branch(connection, group, tree.branches["cooler"])
        refusals.count(connection, tree.branches["cooler"], "ann", "Forbidden")
        certificates.add(
            connection,
            Certificate(
                id="c" * 16,
                run_id=tree.run.id,
                branch_id=line[5].branch_id,
                from_node_id=line[4].id,
                to_node_id=line[5].id,
                digest=line[5].state_digest,
                difference=None,
                untested=[],
                environment={},
                actor="ann",
                created_at=time.time(),
            ),
            20,
        )
    tree.end("cooler")
    tree.end("main")
    control.create_launch(database, store, line[5].id, actor="ann", name="coolest")
    return tree, line


def test_a_purged_branch_leaves_only_its_events(database: Database, store: Store) -> None:
    tree, line = with_everything(database, store)
    with database.read() as connection:
        doomed = [runs.find_branch(connection, f"demo/{name}") for name in ("cooler", "coolest")]
        before = counts(connection)
    with database.transaction() as connection:
        purging.purge_branches(connection, doomed, "ann")
    with database.read() as connection:
        assert integrity.of_database(connection) == []
        event = audit.newest(connection, tree.run.id, 1)[0]
        assert (event.state, event.payload["nodes"]) == ("purged", [line[4].id, line[5].id])
        assert [branch.name for branch in runs.list_branches(connection, tree.run.id)] == ["main"]
        after = counts(connection)
    gone = {"requests", "groups", "certificates", "launches", "metric_blocks", "metric_pyramids"}
    assert gone <= before.keys() and gone.isdisjoint(after)
    # The state at step 20 is one of main, too.
    assert (after["nodes"], after["checkpoints"]) == (4, 4)


def test_a_purged_run_leaves_its_events_and_frees_its_name(
    database: Database, store: Store
) -> None:
    tree, _ = with_everything(database, store)
    other = make_tree(database, store, "other")
    other.node("main", 20, kind="root")
    with database.transaction() as connection:
        events = len(audit.newest(connection, tree.run.id, 1000))
        purging.purge_run(connection, runs.get_run(connection, tree.run.id), "ann")
    with database.transaction() as connection:
        assert integrity.of_database(connection) == []
        assert len(audit.newest(connection, tree.run.id, 1000)) > events
        assert counts(connection).keys() - REMAINING == {"branches", "segments", "nodes"}
        assert runs.create_run(connection, "demo", actor="ann").name == "demo"


def test_a_request_elsewhere_forgets_a_purged_node(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    request = control.submit(database, "demo/main", {"kind": "checkpoint"}, actor="ann")
    with database.transaction() as connection:
        requests.move(connection, request.id, "applied", actor="run", node_id=line[5].id)
        purging.purge_branches(connection, [tree.branches["cooler"]], "ann")
    with database.read() as connection:
        assert requests.get(connection, request.id).node_id is None
        assert integrity.of_database(connection) == []


def test_a_row_that_vanishes_without_a_purge_is_still_noticed(
    database: Database, store: Store
) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        purging.purge_branches(connection, [tree.branches["cooler"]], "ann")
        connection.execute(tables.nodes.delete().where(tables.nodes.c.id == line[3].id))
    with database.read() as connection:
        assert ("node", line[3].id) in [
            (problem.kind, problem.id) for problem in integrity.of_run(connection, tree.run.id)
        ]
