"""What a process keeps of runs is always what a fresh one would read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.db import metrics, runs, segments
from branchtrack.db.browsing import run_index
from branchtrack.db.browsing.run_index import RunIndex
from branchtrack.db.browsing.tables import metric_summaries
from branchtrack.db.deletion import trash
from branchtrack.db.engine import Database
from branchtrack.db.tables import runs as run_rows
from branchtrack.db.tables import segments as segment_rows
from tests.db.browsing.tables_of_runs import add_run, describe, matches
from tests.trees_for_tests import Tree

COLUMNS = "lr,best(eval_loss),last(eval_loss),last(loss)"


def rows(database: Database) -> list[Any]:
    """Everything that a list says of runs."""
    listed = matches(database, sort="name", columns=COLUMNS).runs
    return [
        (
            match.run.name,
            match.run.status,
            match.run.step,
            match.run.tags,
            match.run.updated_at,
            [(branch.name, branch.segments) for branch in match.run.branches],
            str(match.values),
        )
        for match in listed
    ]


def fresh(database: Database) -> list[Any]:
    """The same, as another process would read it."""
    other = Database(database.url)
    try:
        return rows(other)
    finally:
        other.close()


def grown(database: Database, store: Store) -> Tree:
    add_run(database, store, "ended", settings={"lr": 1e-4}, eval_loss=[3.0, 2.0], loss=[1.0])
    tree = add_run(database, store, "live", ended=None, settings={"lr": 1e-3}, eval_loss=[1.5])
    root = tree.node("main", 0, kind="root")
    tree.branch("other", root)
    describe(tree, "other", {"lr": 5.0}, eval_loss=[1.7])
    return tree


def _log(tree: Tree, branch: str = "main", value: float = 0.5) -> None:
    with tree.database.transaction() as connection:
        point = ("eval_loss", 90, value, 1.0)
        metrics.append(connection, tree.segment(branch).id, [point])


def _beat(tree: Tree) -> None:
    with tree.database.transaction() as connection:
        segments.heartbeat(connection, tree.segment("main").id, 77, 1.0, {"lr": 9.0})


def _be_lost(tree: Tree) -> None:
    with tree.database.transaction() as connection:
        connection.execute(segment_rows.update().values(heartbeat_at=1.0, started_at=1.0))


def _purge(tree: Tree) -> None:
    tree.end("other")
    control.delete(tree.database, "live/other", actor="ann")
    with tree.database.read() as connection:
        (entry,) = trash.entries(connection)
    control.deletion.purge(tree.database, entry, actor="ann")


def _change_long_ago(tree: Tree) -> None:
    """What a machine whose clock is slow would write."""
    with tree.database.transaction() as connection:
        where = run_rows.c.name == "ended"
        connection.execute(run_rows.update().where(where).values(updated_at=5.0, tags=["late"]))


def _log_late(tree: Tree) -> None:
    """A point of a segment that has ended, of which no event says anything."""
    with tree.database.transaction() as connection:
        run = runs.find_run(connection, "ended")
        (branch,) = runs.list_branches(connection, run.id)
        metrics.append(connection, branch.segment_id or "", [("eval_loss", 9, 0.1, 1.0)])


def _lose_a_summary(tree: Tree) -> None:
    with tree.database.transaction() as connection:
        is_of_segment = metric_summaries.c.segment_id == tree.segment("other").id
        connection.execute(metric_summaries.delete().where(is_of_segment))


CHANGES: list[Callable[[Tree], object]] = [
    _log,
    lambda tree: _log(tree, "other"),
    lambda tree: _log(tree, "other", float("nan")),
    _beat,
    _be_lost,
    _purge,
    _change_long_ago,
    _log_late,
    _lose_a_summary,
    lambda tree: tree.end("main", "failed"),
    lambda tree: tree.branch("third"),
    lambda tree: control.label(tree.database, "live", actor="ann", name="alive", add=["x"]),
    lambda tree: control.delete(tree.database, "ended", actor="ann"),
    lambda tree: add_run(tree.database, tree.store, "new", ended=None, eval_loss=[0.0]),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(
    database: Database, store: Store, change: Callable[[Tree], object]
) -> None:
    tree = grown(database, store)
    assert rows(database) == fresh(database)
    change(tree)
    assert rows(database) == fresh(database)
    # Again, and after something else was asked for meanwhile.
    matches(database, "other_metric<1")
    _log(tree)
    matches(database, "lr<1")
    assert rows(database) == fresh(database)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, text: str, *_: Any) -> None:
        if not text.startswith(("BEGIN", "PRAGMA")):
            seen.append(text)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def test_what_has_not_changed_is_not_read_again(sqlite_database: Database, store: Store) -> None:
    for number in range(3):
        add_run(sqlite_database, store, f"r{number}", settings={"lr": 1.0}, eval_loss=[1.0])
    rows(sqlite_database)
    with statements(sqlite_database) as seen:
        rows(sqlite_database)
    assert len(seen) == 1
    control.label(sqlite_database, "r1", actor="ann", add=["x"])
    with statements(sqlite_database) as seen:
        assert rows(sqlite_database)[1][3] == ["x"]
    assert len(seen) == 2


def test_the_branch_with_the_best_held_out_value_stands_for_a_run(
    database: Database, store: Store
) -> None:
    tree = grown(database, store)
    live = next(match for match in matches(database, columns="lr").runs if match.run.name == "live")
    assert live.run.leader is not None and live.run.leader.name == "main"
    _log(tree, "other")
    (live,) = matches(database, "run:live", columns="lr,best(eval_loss)").runs
    assert live.run.leader is not None and live.run.leader.name == "other"
    assert list(live.values.values()) == [5.0, 0.5]


def test_an_infinite_value_is_not_the_best(database: Database, store: Store) -> None:
    tree = grown(database, store)
    for value in (float("-inf"), float("inf")):
        _log(tree, "other", value)
        query = "run:live best(eval_loss)>0 worst(eval_loss)<100"
        (live,) = matches(database, query, columns="best(eval_loss)").runs
        assert live.run.leader is not None and live.run.leader.name == "main"


def test_an_infinite_extreme_of_an_earlier_version_is_unknown(
    database: Database, store: Store
) -> None:
    tree = grown(database, store)
    with database.transaction() as connection:
        of_other = metric_summaries.c.segment_id == tree.segment("other").id
        connection.execute(metric_summaries.update().where(of_other).values(minimum=-math.inf))
    (live,) = matches(database, "run:live best(eval_loss)>0").runs
    assert live.run.leader is not None and live.run.leader.name == "main"


def test_a_process_that_comes_back_is_noticed(database: Database, store: Store) -> None:
    tree = grown(database, store)
    _be_lost(tree)
    assert rows(database)[1][1] == "lost"
    with database.transaction() as connection:
        connection.execute(segment_rows.update().values(heartbeat_at=time.time()))
    assert rows(database)[1][1] == "running"


def test_an_index_that_failed_begins_anew(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown(database, store)
    rows(database)
    with monkeypatch.context() as patch:
        patch.setattr(RunIndex, "_choose", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rows(database)
    assert rows(database) == fresh(database)


def test_few_names_are_kept(database: Database, store: Store) -> None:
    grown(database, store)
    for number in range(40):
        matches(database, f"x{number}<1")
    with database.read() as connection, run_index.opened(connection) as index:
        assert len(index.metrics) <= 24 and len(index.settings) <= 24
