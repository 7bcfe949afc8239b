"""Lines are read to where they part and end; what cannot be compared is refused."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.analysis.comparison import reading
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from tests.analysis.comparison.test_side_by_side import REFS, forked, read
from tests.trees_for_tests import Tree, make_tree

__all__ = ["forked"]


def test_the_curve_of_a_node_ends_there(forked: tuple[Tree, list[Node]]) -> None:
    tree, nodes = forked
    several = read(tree, nodes[2].id, *REFS[1:])
    line = several.lines[0]
    assert line.is_node and line.name == "main at 20"
    assert several.curve(line, "loss").steps[-1] == 20


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


def test_a_group_is_one_line_of_its_members(forked: tuple[Tree, list[Node]]) -> None:
    tree, _nodes = forked
    with tree.database.read() as connection:
        grouped = {"demo/sweep": ["demo/cooler", "demo/third"]}
        several = reading.read(connection, ["demo/main"], grouped=grouped)
        alone = reading.read(connection, [], grouped=grouped)
        with pytest.raises(InvalidInput):
            reading.read(connection, [], grouped={"demo/sweep": ["demo/main"] * 201})
    assert [line.name for line in several.lines] == ["main", "sweep"]
    assert several.fork_step == 10 and alone.fork_step == 20
    curve = several.curve(several.lines[1], "loss")
    # Both have what cooler had up to 20; after it there is one alone.
    assert curve.steps.tolist() == list(range(1, 26)) and curve.last[-1] == -1
    settings = {row.name: row.values for row in several.settings()}
    assert settings["lr"][1] == "1e-3 to 0.1"
    assert several.ranking("loss")[0].line.name == "sweep"
    # The mean of both is what is ranked, not the better one of them.
    rank = alone.ranking("loss")[0]
    band = alone.curve(alone.lines[0], "loss").cut(alone.fork_step or 0, None)
    assert rank.best == band.last.min() and rank.last == band.last[-1]
