"""The drawing of the pairs of a trial."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.web.svg import pairs
from branchtrack.web.svg.pairs import Interval, PairMark
from tests.web import dom

MARKS = [
    PairMark("1", -0.01, "−0.010", "pair 1: 2.000 → 1.990: −0.010"),
    PairMark("2", 0.005, "+0.005", "pair 2: 2.000 → 2.005: +0.005"),
    PairMark("3", None, "diverged with the change", "pair 3"),
]


def drawn(marks: Any = MARKS, interval: Any = (-0.02, -0.004, 0.01), **facts: Any) -> dom.Element:
    facts = {"margin": 0.002, "higher_is_better": False, "colour": "up", **facts}
    drawing = pairs.render_pairs(
        marks, Interval(*interval), **facts, name="pairs-0", title="Pairs", description="all of it"
    )
    return dom.parse(str(drawing)).children[0]


def x_of(element: dom.Element, name: str = "cx") -> float:
    return float(element[name].rstrip("%"))


def test_it_is_a_picture_with_a_title_and_a_description() -> None:
    svg = drawn()
    assert (svg["role"], svg["aria-labelledby"]) == ("img", "pairs-0-title pairs-0-desc")
    assert svg.one(id="pairs-0-title").text == "Pairs"
    assert svg.one(id="pairs-0-desc").text == "all of it"


def test_each_pair_is_a_row_left_or_right_of_zero() -> None:
    svg = drawn()
    zero = x_of(svg.one(class_="zero"), "x1")
    first, second = svg.all("circle")
    assert x_of(first) < zero < x_of(second)
    assert float(first["cy"]) < float(second["cy"])
    assert [title.text for title in svg.all("title")][1:] == [mark.title for mark in MARKS]


def test_what_is_better_has_its_colour_and_its_side() -> None:
    svg = drawn()
    classes = [circle.parent.classes for circle in svg.all("circle") if circle.parent]
    assert classes == [["down"], ["up"]]
    assert "← better" in svg.text and "worse →" in svg.text
    turned = drawn(higher_is_better=True)
    classes = [circle.parent.classes for circle in turned.all("circle") if circle.parent]
    assert classes == [["up"], ["down"]]
    assert "← worse" in turned.text and "better →" in turned.text


def test_a_pair_without_a_difference_says_why() -> None:
    assert "diverged with the change" in drawn().text


def test_the_margin_is_shaded_on_both_sides_of_zero() -> None:
    svg = drawn()
    band = svg.one("rect", class_="fill")
    middle = x_of(band, "x") + x_of(band, "width") / 2
    assert middle == pytest.approx(x_of(svg.one(class_="zero"), "x1"), abs=0.02)


def test_a_margin_much_wider_than_the_differences_does_not_hide_them() -> None:
    svg = drawn(margin=5.0)
    first, second = svg.all("circle")
    assert x_of(second) - x_of(first) > 20


def test_the_interval_lies_below_the_pairs_in_the_colour_of_the_verdict() -> None:
    svg = drawn()
    bar = svg.one("line", stroke_width="3")
    assert bar.parent is not None and bar.parent.classes == ["up"]
    assert float(bar["y1"]) > max(float(circle["cy"]) for circle in svg.all("circle"))
    assert "mean" in svg.text and "−0.00400" in svg.text


def test_a_mean_without_an_interval_is_a_mark_alone() -> None:
    svg = drawn(interval=(None, -0.01, None))
    assert svg.all("line", stroke_width="3") == [] and svg.all("path")
    assert "mean" not in drawn(interval=(None, None, None)).text


@pytest.mark.parametrize("margin", [0.0, 0.001])
def test_differences_of_zero_are_drawn(margin: float) -> None:
    svg = drawn([PairMark("1", 0.0, "0", "pair 1")], (0.0, 0.0, 0.0), margin=margin)
    assert x_of(svg.one("circle")) == x_of(svg.one(class_="zero"), "x1")


def test_many_pairs_have_lower_rows() -> None:
    tall = [int(drawn(MARKS[:1] * count)["height"]) / count for count in (10, 30, 90)]
    assert tall == sorted(tall, reverse=True)
