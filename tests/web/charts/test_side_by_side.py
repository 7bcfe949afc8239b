"""The charts of several lines: each looks different, differences are to the base."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.analysis import side_by_side
from branchtrack.checkpoints.packs import Store
from branchtrack.db.engine import Database
from branchtrack.web.charts.side_by_side import build_charts, styles
from branchtrack.web.svg.marks import colour_and_dash
from tests.trees_for_tests import Tree, make_tree


@pytest.fixture
def tree(sqlite_database: Database, store: Store) -> Tree:
    """A long trunk, and three branches whose loss is lower by 1, 2 and 3."""
    tree = make_tree(sqlite_database, store)
    root = tree.node("main", 0)
    tree.points("main", "loss", range(1, 15_001), np.full(15_000, 9.0))
    middle = tree.node("main", 5000, root)
    for number in (1, 2, 3):
        name = f"b{number}"
        tree.branch(name, middle)
        tree.node(name, 5000, middle, kind="fork")
        tree.points(name, "loss", range(5001, 15_001), np.full(10_000, 9.0 - number))
    return tree


def several(tree: Tree, *refs: str) -> side_by_side.SideBySide:
    with tree.database.read() as connection:
        return side_by_side.read(connection, [f"demo/{ref}" for ref in refs])


def test_long_curves_are_subtracted_in_stretches(tree: Tree) -> None:
    lines = several(tree, "main", "b1", "b2", "b3")
    assert not lines.curve(lines.lines[0], "loss").are_points
    upper, lower = build_charts(lines, "step", False, 0.0, (None, None))
    assert [line.name for line in upper.lines] == ["shared", "main", "b1", "b2", "b3"]
    for number, line in enumerate(lower.lines, 1):
        assert line.name == f"b{number}" and len(line.xs) > 100
        assert line.smooth == pytest.approx([-number] * len(line.xs))
        assert line.xs[0] > 5000 and line.xs[-1] == 15_000


def test_a_window_and_other_axes_are_drawn(tree: Tree) -> None:
    lines = several(tree, "b1", "b2", "b3")
    for axis in ("step", "since", "epoch", "time"):
        upper, _lower = build_charts(lines, axis, True, 0.9, (6000, 7000))
        assert all(line.xs for line in upper.lines)
    assert build_charts(lines, "since", False, 0.0, (None, None))[0].origin == 5000


def test_lines_of_one_branch_look_different(tree: Tree) -> None:
    with tree.database.read() as connection:
        lines = side_by_side.read(connection, ["demo/main", "demo/main@5000", "demo/b1"])
    looks = [colour_and_dash(style) for style in styles(lines)]
    assert len(set(looks)) == len(looks)
