"""Names, tags and notes are changed by those who may, all or nothing, and each is in the log."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control.labels import label_runs
from branchtrack.core.actors import Actor
from branchtrack.core.records import Branch, Node, Run
from branchtrack.db import audit, integrity, runs
from branchtrack.db.engine import Database
from branchtrack.errors import Forbidden, InvalidInput, NameTaken, NotFound
from tests.trees_for_tests import Tree, make_forked_tree, make_tree


@pytest.fixture
def tree(database: Database, store: Store) -> tuple[Tree, list[Node]]:
    return make_forked_tree(database, store)


def label(tree: tuple[Tree, list[Node]], ref: str, **changes: Any) -> Any:
    return control.label(tree[0].database, ref, **{"actor": "ann", **changes})


def last_event(tree: tuple[Tree, list[Node]]) -> tuple[str, str, Any]:
    with tree[0].database.read() as connection:
        event = audit.newest(connection, tree[0].run.id, 1)[0]
        assert integrity.of_database(connection) == []
    return event.kind, event.state, event.payload


def test_a_run_and_a_branch_get_other_names_while_they_train(tree: tuple[Tree, list[Node]]) -> None:
    assert isinstance(label(tree, "demo/cooler", name="calm", reason="clearer"), Branch)
    assert last_event(tree) == ("branch", "renamed", {"from": "cooler", "to": "calm"})
    assert label(tree, "demo", name="other").name == "other"
    with tree[0].database.read() as connection:
        assert runs.find_branch(connection, "other/calm").id == tree[0].branches["cooler"].id
        with pytest.raises(NotFound):
            runs.find_run(connection, "demo")


def test_the_default_branch_stays_that_under_its_new_name(tree: tuple[Tree, list[Node]]) -> None:
    label(tree, "demo/main", name="trunk")
    with tree[0].database.read() as connection:
        assert runs.find_branch(connection, "demo").name == "trunk"
    assert last_event(tree)[1] == "renamed"


def test_a_name_that_is_taken_or_bad_changes_nothing(
    tree: tuple[Tree, list[Node]], database: Database, store: Store
) -> None:
    make_tree(database, store, "second")
    for ref, name, error in (
        ("demo", "second", NameTaken),
        ("demo/cooler", "main", NameTaken),
        ("demo", "a b", InvalidInput),
        ("demo/cooler", "", InvalidInput),
    ):
        with pytest.raises(error):
            label(tree, ref, name=name, add=["good"])
    assert label(tree, "demo", name="demo").tags == []


def test_tags_are_added_and_taken_away_on_all_three(tree: tuple[Tree, list[Node]]) -> None:
    node = tree[1][3]
    for ref, kind in (("demo", Run), ("demo/cooler", Branch), (node.id, Node), ("demo@30", Node)):
        before = label(tree, ref, add=["draft", "good"]).tags
        item = label(tree, ref, add=["good", "best"], remove=["draft"])
        assert isinstance(item, kind) and item.tags == ["good", "best"]
        assert last_event(tree)[1:] == (
            "tagged",
            {"tags": ["good", "best"], "before": before},
        )
    with pytest.raises(InvalidInput, match="good, best"):
        label(tree, "demo", remove=["nothing"])
    with pytest.raises(InvalidInput, match="50 tags"):
        label(tree, "demo", add=[f"t{number}" for number in range(60)])


def test_notes_and_the_archive(tree: tuple[Tree, list[Node]]) -> None:
    assert label(tree, "demo/cooler", notes="the calm one").notes == "the calm one"
    assert label(tree, "demo", archived=True).archived_at is not None
    assert last_event(tree)[1] == "archived"
    assert label(tree, "demo", archived=False).archived_at is None
    assert last_event(tree)[1] == "unarchived"


def test_a_node_has_tags_alone(tree: tuple[Tree, list[Node]]) -> None:
    with pytest.raises(InvalidInput, match="no notes"):
        label(tree, tree[1][3].id, notes="x", add=["good"])
    assert label(tree, tree[1][3].id, add=["fine"]).tags == ["fine"]


def test_viewers_and_agents_may_not(tree: tuple[Tree, list[Node]]) -> None:
    for role in ("viewer", "agent"):
        with pytest.raises(Forbidden):
            label(tree, "demo", name="mine", actor=Actor("eve", role), reason="why")
    with pytest.raises(NotFound):
        label(tree, "nothing", add=["good"])


def test_several_runs_are_labelled_all_or_none(database: Database, store: Store) -> None:
    for name in ("a", "b"):
        make_tree(database, store, name=name)

    def tags() -> list[list[str] | None]:
        with database.read() as connection:
            return [runs.find_run(connection, name).tags for name in ("a", "b")]

    before = tags()
    with pytest.raises(NotFound):
        label_runs(database, ["a", "b", "nope"], actor="ann", add=["x"])
    assert tags() == before
    label_runs(database, ["a", "b", "a"], actor="ann", add=["x"], pinned=True)
    assert tags() == [["x"], ["x"]]
    label_runs(database, ["a", "b"], actor="ann", remove=["x", "other"])
    assert tags() == [[], []]
