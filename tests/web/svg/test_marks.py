"""The parts of drawings."""

from __future__ import annotations

import pytest

from branchtrack.web.svg import marks
from tests.web import dom


def test_sixteen_branches_look_different() -> None:
    assert len({marks.classes(index) for index in range(16)}) == 16


def test_attributes_and_content_are_escaped() -> None:
    found = str(marks.el("text", '<b>"', x='"><script>', class_="a"))
    assert "<script>" not in found and "<b>" not in found
    assert dom.parse(found).one("text")["x"] == '"><script>'


def test_markup_inside_is_kept() -> None:
    assert dom.parse(str(marks.el("g", marks.el("line", x1=1.50)))).one("line")["x1"] == "1.5"


@pytest.mark.parametrize(
    ("low", "high", "wanted", "found"),
    [
        (0, 2000, 8, [0, 250, 500, 750, 1000, 1250, 1500, 1750, 2000]),
        (0, 1, 4, [0, 0.25, 0.5, 0.75, 1]),
        (-0.3, 0.1, 2, [-0.2, 0]),
        (5, 5, 4, [5]),
        (2.1, 5.9, 2, [3, 4, 5]),
        (2.04, 2.06, 4, [2.04, 2.045, 2.05, 2.055, 2.06]),
    ],
)
def test_ticks_are_round(low: float, high: float, wanted: int, found: list[float]) -> None:
    assert marks.ticks(low, high, wanted) == found


def test_logarithmic_ticks_are_decades_or_where_short_round_numbers() -> None:
    assert marks.log_ticks(0.01, 100) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
    assert marks.log_ticks(1e-6, 1) == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert marks.log_ticks(1.8, 5.7) == [2, 3, 4, 5]
    assert marks.log_ticks(0, 5) == [5]


@pytest.mark.parametrize(
    ("kind", "changed", "found"),
    [
        ("root", False, "ring"),
        ("checkpoint", False, "ring"),
        ("intervention", True, "change"),
        ("fork", True, "change"),
        ("fork", False, "fork"),
        ("final", False, "end"),
    ],
)
def test_each_kind_of_node_has_its_mark(kind: str, changed: bool, found: str) -> None:
    assert marks.mark_kind(kind, changed) == found


@pytest.mark.parametrize("high", [1.01, 1.3, 2.7, 4.49, 9.9, 123.4])
@pytest.mark.parametrize("wanted", [1, 2, 3, 8])
def test_a_range_has_at_least_two_ticks(high: float, wanted: int) -> None:
    found = marks.ticks(0.99, high, wanted)
    assert 2 <= len(found) <= 12 and 0.99 <= found[0] <= found[-1] <= high


def test_a_log_scale_over_hundreds_of_decades_has_few_lines() -> None:
    ticks = marks.log_ticks(1e-300, 1e280)
    assert 2 <= len(ticks) <= 13 and ticks == sorted(ticks)
