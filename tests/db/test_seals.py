"""A seal shows that a row was changed, added or lost, and stays the same where nothing was."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from branchtrack.checkpoints.packs import Store
from branchtrack.db import seals, tables
from branchtrack.db.engine import Database
from tests.trees_for_tests import Tree, make_tree


@pytest.fixture
def tree(sqlite_database: Database, store: Store) -> Tree:
    """A run that trains."""
    return make_tree(sqlite_database, store)


def test_a_column_that_a_later_version_adds_leaves_the_digest_as_it_was() -> None:
    assert seals.digest({"a": 1, "b": None, "seal": "x"}) == seals.digest({"a": 1})


@pytest.mark.parametrize(
    ("value", "other"),
    [("1", 1), ("1", b"1"), (1, 2), (1.0, 1), ("", None), (0.0, None)],
    ids=repr,
)
def test_values_that_differ_in_kind_or_content_have_other_digests(value: Any, other: Any) -> None:
    assert seals.digest({"a": value}) != seals.digest({"a": other})


def test_values_that_a_database_does_not_tell_apart_have_one_digest() -> None:
    assert seals.digest({"a": True, "b": -0.0}) == seals.digest({"b": 0.0, "a": 1})
    assert seals.point(1, 2, -0.0, 3.0) == seals.point(1, 2, 0.0, 3.0)


def test_what_moves_from_one_column_to_the_next_is_noticed() -> None:
    assert seals.digest({"a": "xy", "b": "z"}) != seals.digest({"a": "x", "b": "yz"})


def test_a_point_without_a_number_is_not_one_of_zero() -> None:
    assert seals.point(1, 2, None, 3.0) != seals.point(1, 2, 0.0, 3.0)


def test_a_changed_row_is_named_until_it_is_sealed_again(tree: Tree) -> None:
    with tree.database.transaction() as connection:
        assert seals.holds(connection, tables.runs, tree.run.id)
        connection.execute(tables.runs.update().values(notes="edited"))
        assert not seals.holds(connection, tables.runs, tree.run.id)
        assert list(seals.broken(connection, tables.runs)) == [(tree.run.id, seals.CHANGED)]
        seals.renew(connection, tables.runs, tree.run.id)
        assert list(seals.broken(connection, tables.runs)) == []


def test_a_row_is_sealed_as_it_is_stored_by_the_statement_that_writes_it(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    segment = tree.segment("main")
    # Whole numbers in columns of both kinds, which a RETURNING of SQLite mixes up.
    values = {"step": 7, "rate": 2, "settings": {"lr": 1, "name": "é"}}
    with database.transaction() as connection:
        update = tables.segments.update().where(tables.segments.c.id == segment.id)
        written = seals.write_row(connection, tables.segments, update.values(**values), segment.id)
        assert written is not None
        row, contents = written
        assert {name: row[name] for name in values} == values
        assert seals.contents(connection, tables.segments, segment.id) in contents.values()
    with database.read() as connection:
        assert seals.holds(connection, tables.segments, segment.id)


def test_a_statement_that_writes_no_row_seals_none(tree: Tree) -> None:
    update = tables.runs.update().where(tables.runs.c.id == tree.run.id, tables.runs.c.name == "x")
    with tree.database.transaction() as connection:
        assert (
            seals.write_row(connection, tables.runs, update.values(name="y"), tree.run.id) is None
        )


def test_a_lost_row_and_an_added_one_are_told_apart(tree: Tree) -> None:
    segment = tree.segment("main")
    with tree.database.transaction() as connection:
        connection.execute(tables.segments.update().values(id="another"))
        problems = dict(seals.broken(connection, tables.segments))
    assert problems.keys() == {segment.id, "another"}
    assert problems[segment.id] == "is gone" and "not written" in problems["another"]


def test_a_row_that_was_removed_on_purpose_loses_its_seal(tree: Tree) -> None:
    with tree.database.transaction() as connection:
        connection.execute(tables.segments.delete())
        seals.renew(connection, tables.segments, tree.branches["main"].segment_id)
        assert seals.all_stored(connection, tables.segments) == {}


def test_what_becomes_known_later_is_sealed_but_not_part_of_the_event(tree: Tree) -> None:
    node = tree.node("main", 0, kind="root")
    with tree.database.transaction() as connection:
        contents = seals.contents(connection, tables.nodes, node.id)
        seal = seals.stored(connection, tables.nodes, node.id)
        connection.execute(tables.nodes.update().values(effective={"lr": 1.0}))
        seals.renew(connection, tables.nodes, node.id)
        assert seals.contents(connection, tables.nodes, node.id) == contents
        assert seals.contents_of_run(connection, tables.nodes, tree.run.id) == {node.id: contents}
        assert seals.stored(connection, tables.nodes, node.id) != seal


def test_a_row_from_another_database_is_what_its_event_says_of_it(tree: Tree) -> None:
    node = tree.node("main", 0, kind="root")
    with tree.database.transaction() as connection:
        contents = seals.contents(connection, tables.nodes, node.id)
        renumbered = tables.nodes.update().values(seq=node.seq + 7, logged_seq=node.seq)
        connection.execute(renumbered)
        assert seals.contents(connection, tables.nodes, node.id) == contents


def test_a_row_written_often_in_one_transaction_is_sealed_once_as_it_is_at_its_end(
    tree: Tree,
) -> None:
    node = tree.node("main", 0, kind="root")
    stored = list[str]()

    def note(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        stored.extend([statement] if statement.startswith("INSERT INTO seals") else [])

    event.listen(tree.database.engine, "before_cursor_execute", note)
    with tree.database.transaction() as connection:
        for message in ("first", "second"):
            connection.execute(tables.nodes.update().values(message=message))
            seals.renew(connection, tables.nodes, node.id)
    event.remove(tree.database.engine, "before_cursor_execute", note)
    assert len(stored) == 1
    with tree.database.read() as connection:
        assert seals.holds(connection, tables.nodes, node.id)


def test_a_seal_is_read_as_it_is_within_its_transaction(tree: Tree) -> None:
    node = tree.node("main", 0, kind="root")
    with tree.database.transaction() as connection:
        connection.execute(tables.nodes.update().values(message="other"))
        seals.renew(connection, tables.nodes, node.id)
        assert seals.holds(connection, tables.nodes, node.id)


def test_a_transaction_that_fails_seals_nothing(tree: Tree) -> None:
    node = tree.node("main", 0, kind="root")
    with pytest.raises(ZeroDivisionError), tree.database.transaction() as connection:
        connection.execute(tables.nodes.update().values(message="other"))
        seals.renew(connection, tables.nodes, node.id)
        raise ZeroDivisionError
    with tree.database.transaction() as connection:
        assert seals.holds(connection, tables.nodes, node.id)
