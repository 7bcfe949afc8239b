"""Runs and branches: made, found by name or id prefix, and listed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from branchtrack.checkpoints.packs import Store
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.errors import Ambiguous, InvalidInput, NameTaken, NotFound
from tests.trees_for_tests import make_forked_tree, make_tree


def test_a_run_name_that_is_taken_gets_a_number(database: Database, store: Store) -> None:
    names = [make_tree(database, store).run.name for _ in range(3)]
    assert names == ["demo", "demo-2", "demo-3"]


def test_a_run_name_that_is_taken_can_be_refused(database: Database, store: Store) -> None:
    make_tree(database, store)
    with pytest.raises(NameTaken, match="demo-2"), database.transaction() as connection:
        runs.create_run(connection, "demo", actor="x", number_if_taken=False)


def test_a_run_is_found_by_name_id_or_prefix(database: Database, store: Store) -> None:
    run = make_tree(database, store).run
    with database.read() as connection:
        for ref in (run.name, run.id, run.id[:4]):
            assert runs.find_run(connection, ref).id == run.id


def test_an_unknown_run_is_answered_with_names_that_come_close(
    database: Database, store: Store
) -> None:
    make_tree(database, store)
    with pytest.raises(NotFound, match="Did you mean: demo"), database.read() as connection:
        runs.find_run(connection, "dmo")


@pytest.mark.parametrize("ref", ["de\udcffmo", "de\x00mo/main", "", "/", "x" * 5000])
def test_a_name_that_no_database_can_hold_is_not_found(
    database: Database, store: Store, ref: str
) -> None:
    make_tree(database, store)
    with pytest.raises(NotFound), database.read() as connection:
        nodes.find(connection, ref)


def test_a_run_alone_means_its_default_branch(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    with database.read() as connection:
        assert runs.find_branch(connection, "demo").name == "main"
        assert runs.find_branch(connection, "demo/cooler").id == tree.branches["cooler"].id
        assert runs.find_branch(connection, tree.branches["cooler"].id[:6]).name == "cooler"


def test_an_unknown_branch_is_answered_with_those_there_are(
    database: Database, store: Store
) -> None:
    make_forked_tree(database, store)
    with pytest.raises(NotFound, match="demo/cooler"), database.read() as connection:
        runs.find_branch(connection, "demo/coler")


def test_two_branches_of_one_run_cannot_share_a_name(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with pytest.raises(NameTaken), database.transaction() as connection:
        runs.create_branch(connection, tree.run.id, "main")


def test_a_branch_needs_a_valid_name(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with pytest.raises(InvalidInput), database.transaction() as connection:
        runs.create_branch(connection, tree.run.id, "a/b")


def test_a_new_run_reads_no_names_but_those_like_its_own(database: Database, store: Store) -> None:
    for name in ("demo", "demo-2", "demo_2", "other"):
        make_tree(database, store, name)
    statements: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def _keep(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        statements.append(statement)

    assert make_tree(database, store, "demo").run.name == "demo-3"
    assert [text for text in statements if "runs.name" in text and "WHERE" not in text] == []


def test_a_prefix_of_several_is_ambiguous(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with database.transaction() as connection:
        for tail in "ab":
            values = {**vars(tree.run), "id": f"aaaa00000000000{tail}", "name": f"n{tail}"}
            connection.execute(runs.runs.insert().values(**values))
    with pytest.raises(Ambiguous, match="more characters"), database.read() as connection:
        runs.find_run(connection, "aaaa")
