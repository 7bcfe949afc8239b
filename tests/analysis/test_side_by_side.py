"""Several lines side by side: what they share, where they differ, which is the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from branchtrack.analysis import side_by_side
from branchtrack.analysis.side_by_side import SideBySide
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Change, Node
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups
from branchtrack.errors import InvalidInput, NotFound
from tests.trees_for_tests import Tree, make_forked_tree, make_tree

REFS = ("demo/main", "demo/cooler", "demo/third")


@pytest.fixture
def forked(database: Database, store: Store) -> tuple[Tree, list[Node]]:
    """Branches that leave `main` at 10 and `cooler` at 20; each has its own held-out losses."""
    tree, nodes = make_forked_tree(database, store)
    tree.branch("third", nodes[5])
    change = Change("lr", 0.001, 0.1)
    fork = tree.node("third", 20, nodes[5], kind="fork", changes=(change,), settings={"lr": 0.1})
    tree.points("third", "loss", range(21, 26), range(-5, 0))
    tree.node("third", 25, fork, settings={"lr": 0.1})
    tree.points("main", "eval_loss", range(5, 31, 5), [9, 1, 5, 4, 3, 2])
    tree.points("third", "eval_loss", range(25, 26), [2.5])
    return tree, nodes


def read(tree: Tree, *refs: str, **options: Any) -> SideBySide:
    with tree.database.read() as connection:
        return side_by_side.read(connection, refs, **options)


def test_lines_part_at_the_nearest_node_that_all_have(forked: tuple[Tree, list[Node]]) -> None:
    tree, nodes = forked
    several = read(tree, *REFS)
    assert several.ancestor is not None and several.ancestor.id == nodes[1].id
    assert several.fork_step == 10
    later = read(tree, "demo/cooler", "demo/third").ancestor
    assert later is not None and later.id == nodes[5].id


def test_curves_are_those_of_the_whole_lines(forked: tuple[Tree, list[Node]]) -> None:
    several = read(forked[0], *REFS)
    third = several.curve(several.lines[2], "loss")
    assert third.steps.tolist() == list(range(1, 26))
    assert third.last[-5:].tolist() == [-5, -4, -3, -2, -1]


def test_the_curve_of_a_node_ends_there(forked: tuple[Tree, list[Node]]) -> None:
    tree, nodes = forked
    several = read(tree, nodes[2].id, *REFS[1:])
    line = several.lines[0]
    assert line.is_node and line.name == "main at 20"
    assert several.curve(line, "loss").steps[-1] == 20


def test_the_best_since_they_parted_comes_first(forked: tuple[Tree, list[Node]]) -> None:
    several = read(forked[0], *REFS)
    assert several.ranked_by == "eval_loss"
    ranks = several.ranking("eval_loss")
    # What main had before the others left it, the lowest, counts for none.
    assert [(rank.line.name, rank.best, rank.best_step) for rank in ranks] == [
        ("main", 2.0, 30),
        ("third", 2.5, 25),
        ("cooler", None, None),
    ]
    assert (ranks[0].last, ranks[0].last_step) == (2.0, 30)
    accuracy = several.ranking("accuracy")
    assert all(rank.best is None for rank in accuracy)


def test_changes_are_listed_once_with_their_lines(forked: tuple[Tree, list[Node]]) -> None:
    changes = [
        ([line.name for line in lines], node.step, node.changes[0].name)
        for lines, node in read(forked[0], *REFS).changes()
    ]
    assert (["third"], 20, "lr") in changes
    assert all(step >= 10 for _names, step, _name in changes)


def test_settings_are_a_row_each_with_a_value_of_each_line(
    forked: tuple[Tree, list[Node]],
) -> None:
    rows = {row.name: row for row in read(forked[0], *REFS).settings()}
    assert rows["lr"].differs and rows["lr"].values[2] == 0.1
    assert not rows["weight_decay"].differs


def test_long_curves_are_exact_where_lines_part(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    root = tree.node("main", 0)
    tree.points("main", "loss", range(1, 20_001))
    middle = tree.node("main", 9999, root)
    refs = ["demo/main"]
    for name in ("a", "b"):
        tree.branch(name, middle)
        tree.node(name, 9999, middle, kind="fork")
        tree.points(name, "loss", range(10_000, 20_001), np.arange(10_001) + ord(name))
        refs.append(f"demo/{name}")
    several = read(tree, *refs)
    for line in several.lines:
        curve = several.curve(line, "loss")
        assert curve.steps.size < 6000
        assert int(curve.count.sum()) == 20_000
        assert int(curve.cut(9999, None).count.sum()) == 10_001
    assert several.ranking("loss")[0].best == ord("a")


def test_groups_stand_for_their_branches(forked: tuple[Tree, list[Node]]) -> None:
    tree, _nodes = forked
    with tree.database.transaction() as connection:
        group = groups.create(connection, tree.run.id, "sweep", "values", actor="ann")
        for name in ("cooler", "third"):
            groups.add_branch(
                connection, group, runs.get_branch(connection, tree.branches[name].id)
            )
        expanded = side_by_side.expanded(connection, ["demo/main", "demo/third"], ["demo/sweep"])
        assert expanded == ["demo/main", "demo/third", "demo/cooler"]
        with pytest.raises(NotFound):
            side_by_side.expanded(connection, [], ["demo/nope"])


@pytest.mark.parametrize(
    ("refs", "options"),
    [
        (["demo/main"], {}),
        ([f"demo/{number}" for number in range(9)], {}),
        (["demo/main", "demo"], {}),
        (["demo/main", "demo/cooler"], {"base": "demo/third"}),
    ],
)
def test_what_is_too_few_too_many_or_twice_is_refused(
    forked: tuple[Tree, list[Node]], refs: list[str], options: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput):
        read(forked[0], *refs, **options)


def test_the_base_is_named_by_any_of_its_names(forked: tuple[Tree, list[Node]]) -> None:
    tree, nodes = forked
    for base, place in (("cooler", 1), ("demo/third", 2), (None, 0)):
        assert read(tree, *REFS, base=base).base == place
    assert read(tree, "demo/main", nodes[5].id, base=nodes[5].id[:8]).base == 1
