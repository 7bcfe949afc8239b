"""The lanes beside the node table."""

from __future__ import annotations

from branchtrack.core.tree import lanes
from branchtrack.web.svg import gutter
from tests.web import dom

#: Newest first: two branches from ``b``.
NODES = [("e", "c"), ("d", "b"), ("c", "b"), ("b", "a"), ("a", None)]
STYLES = {"a": 0, "b": 0, "d": 0, "c": 1, "e": 1}


def drawn() -> dict[str, dom.Element]:
    found = gutter.build_gutters(lanes(NODES), STYLES, dict.fromkeys(STYLES, "ring"))
    return {node: dom.parse(str(one.svg)).children[0] for node, one in found.items()}


def test_a_drawing_is_decoration() -> None:
    assert all(one["aria-hidden"] == "true" for one in drawn().values())


def test_every_node_has_its_mark() -> None:
    assert all(len(one.all("circle")) == 1 for one in drawn().values())


def test_a_lane_that_passes_by_keeps_its_branchs_colour() -> None:
    passing = [one for one in drawn()["d"].all("line") if (one["y1"], one["y2"]) == ("0", "100%")]
    assert [one.classes[0] for one in passing] == ["b1"]


def test_a_fork_is_a_curve_into_its_parents_lane() -> None:
    curves = drawn()["b"].all("path")
    assert len(curves) == 1
    assert curves[0]["d"].startswith("M34,-400") and curves[0]["d"].endswith("16,0")


def test_nothing_is_drawn_above_the_newest_and_below_the_root() -> None:
    newest = [(one["y1"], one["y2"]) for one in drawn()["e"].all("line")]
    root = [(one["y1"], one["y2"]) for one in drawn()["a"].all("line")]
    assert newest == [("50%", "100%")]
    assert root == [("0", "50%")]


def test_the_column_is_as_wide_as_its_lanes_but_not_wider_than_twelve() -> None:
    found = gutter.build_gutters(lanes(NODES), STYLES, dict.fromkeys(STYLES, "ring"))
    assert {one.width for one in found.values()} == {2}
    many = [(f"n{number}", "root") for number in range(30)] + [("root", None)]
    styles = {node: 0 for node, _ in many}
    wide = gutter.build_gutters(lanes(many), styles, dict.fromkeys(styles, "ring"))
    assert {one.width for one in wide.values()} == {12}
