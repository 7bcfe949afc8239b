"""What is taken back, and what is not."""

from __future__ import annotations

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control.organising import undoing
from branchtrack.db import labels, runs
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from tests.trees_for_tests import Tree, make_forked_tree


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    grown, _line = make_forked_tree(database, store)
    grown.end("cooler")
    return grown


def newest(tree: Tree) -> int:
    with tree.database.read() as connection:
        return undoing.newest(connection)


def present(tree: Tree) -> tuple[object, ...]:
    with tree.database.read() as connection:
        branch = runs.get_branch(connection, tree.branches["cooler"].id)
    moments = (branch.archived_at, branch.pinned_at, branch.trashed_at)
    return (
        branch.name,
        sorted(branch.tags or []),
        branch.notes or "",
        *(m is not None for m in moments),
    )


def test_all_labels_of_a_branch_come_back_together(tree: Tree) -> None:
    control.label(tree.database, "demo/cooler", actor="ann", add=["a", "b"], notes="first")
    before, first = present(tree), newest(tree) + 1
    changes = {"name": "calm", "add": ["c"], "remove": ["a"], "notes": "", "pinned": True}
    control.label(tree.database, "demo/cooler", actor="ann", archived=True, **changes)
    control.delete(tree.database, "demo/calm", actor="ann")
    assert present(tree) == ("calm", ["b", "c"], "", True, True, True)
    (item,) = undoing.undo(tree.database, f"{first}-{newest(tree)}", actor="ann")
    assert (item.id, item.name) == (tree.branches["cooler"].id, "cooler")
    assert present(tree) == before


def test_what_others_did_meanwhile_stays(tree: Tree) -> None:
    first = newest(tree) + 1
    control.label(tree.database, "demo", actor="ann", pinned=True)
    control.label(tree.database, "demo/cooler", actor="bob", pinned=True)
    undoing.undo(tree.database, f"{first}-{newest(tree)}", actor="ann")
    with tree.database.read() as connection:
        assert runs.get_run(connection, tree.run.id).pinned_at is None
    assert present(tree)[4]


def test_what_has_been_changed_since_is_not_taken_back(tree: Tree) -> None:
    first = newest(tree) + 1
    control.label(tree.database, "demo/cooler", actor="ann", notes="first")
    last = newest(tree)
    control.label(tree.database, "demo/cooler", actor="bob", notes="second")
    with pytest.raises(InvalidInput, match="changed again"):
        undoing.undo(tree.database, f"{first}-{last}", actor="ann")
    assert present(tree)[2] == "second"


@pytest.mark.parametrize("change", ["", "x", "5-1", "1-1", "1-99999", "9" * 20 + "-1"])
def test_what_is_no_change_is_refused(tree: Tree, change: str) -> None:
    with pytest.raises(InvalidInput):
        undoing.undo(tree.database, change, actor="ann")


def test_an_event_that_does_not_say_what_was_before_is_refused(tree: Tree) -> None:
    first = newest(tree) + 1
    with tree.database.transaction() as connection:
        run = runs.get_run(connection, tree.run.id)
        labels.change(connection, run, "tagged", "ann", "", {"tags": ["x"]}, tags=["x"])
    with pytest.raises(InvalidInput):
        undoing.undo(tree.database, f"{first}-{newest(tree)}", actor="ann")
