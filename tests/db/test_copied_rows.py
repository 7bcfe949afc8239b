"""Rows of another database are written letter by letter, numbered and sealed here."""

from __future__ import annotations

from sqlalchemy import func, select, text

from branchtrack.checkpoints.packs import Store
from branchtrack.db import copied_rows, runs, seals, tables
from branchtrack.db.browsing.tables import metric_pyramids
from branchtrack.db.engine import Database
from tests.trees_for_tests import make_tree

RUN = {
    "id": "a" * 16,
    "name": "demo",
    "default_branch": "main",
    "entry_point": '{"argv": [ "x",  1e2 ]}',
    "tags": "[]",
    "notes": "",
    "created_at": 0.1,
    "updated_at": 0.1,
}


def test_the_text_of_json_is_stored_letter_by_letter(database: Database) -> None:
    with database.transaction() as connection:
        copied_rows.add(connection, tables.runs, RUN)
    with database.read() as connection:
        (stored,) = seals.raw(connection, tables.runs, RUN["id"])
        assert stored["entry_point"] == RUN["entry_point"]
        assert seals.holds(connection, tables.runs, RUN["id"])
        assert runs.get_run(connection, "a" * 16).entry_point == {"argv": ["x", 100.0]}
        assert copied_rows.is_equal(stored, {**stored, **RUN})


def test_a_changed_and_a_removed_row_keep_no_old_seal(database: Database) -> None:
    with database.transaction() as connection:
        copied_rows.add(connection, tables.runs, RUN)
        copied_rows.change(connection, tables.runs, {**RUN, "name": "other"})
        assert seals.holds(connection, tables.runs, RUN["id"])
        assert runs.names(connection) == {"other"}
        copied_rows.remove(connection, tables.runs, RUN)
        assert seals.stored(connection, tables.runs, RUN["id"]) is None
        assert runs.names(connection) == set()


def test_a_row_with_a_composite_key_is_sealed(database: Database) -> None:
    row = {
        "run_id": RUN["id"],
        "branch_id": "b" * 16,
        "actor": "agent",
        "kind": "Forbidden",
        "count": 3,
        "first_at": 1.0,
        "last_at": 2.0,
    }
    with database.transaction() as connection:
        copied_rows.add(connection, tables.runs, RUN)
        copied_rows.add(connection, tables.refusals, row)
        copied_rows.change(connection, tables.refusals, {**row, "count": 4})
    with database.read() as connection:
        assert list(seals.broken(connection, tables.refusals)) == []
        assert connection.execute(text("SELECT count FROM refusals")).scalar() == 4


def test_the_number_that_events_speak_of_is_the_first() -> None:
    assert copied_rows.logged_seq({"seq": 5, "logged_seq": None}) == 5
    assert copied_rows.logged_seq({"seq": 5, "logged_seq": 2}) == 2
    assert copied_rows.is_equal({"seq": 2, "logged_seq": None}, {"seq": 5, "logged_seq": 2})
    assert not copied_rows.is_equal({"seq": 2, "logged_seq": None}, {"seq": 5, "logged_seq": 3})


def test_series_go_with_their_points_blocks_and_pyramids(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    tree.points("main", "loss", range(1, 3000))
    with database.transaction() as connection:
        copied_rows.remove_series(connection, [tree.segment("main").id])
    with database.read() as connection:
        for table in (tables.metric_points, tables.metric_blocks, metric_pyramids):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0
