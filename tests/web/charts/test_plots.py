"""Curves drawn on the server."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from operator import sub

import numpy as np
import pytest

from branchtrack.db.metrics import Series
from branchtrack.web.charts import axes, plots
from branchtrack.web.charts import chart as charts_chart
from branchtrack.web.charts.chart import Chart
from tests.web import dom


def chart(*values: list[float], log: bool = False, fill: bool = False, limit: int = 1000) -> Chart:
    lines = []
    for number, one in enumerate(values):
        found = Series(np.arange(len(one)), np.array(one, np.float64), np.zeros(len(one)))
        lines.append(
            charts_chart.line(
                found,
                name=f"branch{number}",
                style=number,
                weight=0.6,
                limit=limit,
                to_x=axes.to_steps,
                changes=[(1, "lr 1 → 2")],
            )
        )
    return charts_chart.chart(
        lines, metric_name="loss", x_name="step", log=log, weight=0.6, fill=fill, fork=1.0
    )


def plot(found: Chart) -> dom.Element:
    return dom.parse(str(plots.plot(found))).children[0]


def spots(path: str) -> list[tuple[float, float]]:
    pairs = path.replace("M", "L").strip("L").split("L")
    return [(float(one.split(",")[0]), float(one.split(",")[1])) for one in pairs]


def test_every_branch_has_a_faint_and_a_smooth_curve_and_its_name() -> None:
    found = plot(chart([3, 2, 1], [3, 4, 5]))
    assert len(found.all("path", class_="curve")) == len(found.all("path", class_="raw")) == 2
    assert [one.text for one in found.all("text", class_="name")] == ["branch1", "branch0"]


def test_a_gap_breaks_the_curve_and_has_a_mark() -> None:
    found = plot(chart([3, 2, math.nan, 1, 1]))
    assert found.one("path", class_="curve")["d"].count("M") == 2
    assert len(found.all("path", class_="gap")) == 1


def test_a_point_between_gaps_is_drawn_as_a_dot() -> None:
    dots = plot(chart([3, 2, math.nan, 1, math.nan, 1, 1])).all("circle", class_="solid")
    assert [dot.parent["x"] for dot in dots if dot.parent is not None] == ["50%"]


def test_what_a_log_scale_leaves_out_is_said_in_the_chart() -> None:
    found = plot(chart([3, 0, 1, 2, 1], log=True))
    assert found.one("path", class_="raw")["d"].count("M") == 2
    said = "Log scale: values ≤ 0 are not drawn"
    assert said in [one.text for one in found.all("text")] and said in found["aria-label"]
    assert said not in plot(chart([3, 2, 1], log=True)).text


def test_the_fork_and_changes_are_drawn() -> None:
    found = plot(chart([3, 2, 1]))
    assert found.one("line", class_="forkline")["x1"] == "50%"
    assert found.one("title").text == "lr 1 → 2"


def test_a_spike_reaches_the_page() -> None:
    values = [1.0] * 900
    values[451] = 100.0
    path = plot(chart(values, limit=200)).one("path", class_="fill")["d"]
    assert path.count("L") < 500
    assert min(y for _, y in spots(path.replace("Z", ""))) < 40


def test_higher_values_are_higher_up_on_both_kinds_of_axis() -> None:
    for log in (False, True):
        path = plot(chart([1.0, 10.0, 100.0], log=log)).one("path", class_="raw")["d"]
        heights = [y for _, y in spots(path)]
        assert heights == sorted(heights, reverse=True)
    # Equal factors are equal distances.
    assert math.isclose(heights[0] - heights[1], heights[1] - heights[2], abs_tol=0.2)


LARGEST = sys.float_info.max


@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        [5e-324],
        [5e-324, 1e-320, 1e-310],
        [-1e-310, 0.0, 1e-310],
        [1e308, -1e308, 0.5],
        [LARGEST, -LARGEST],
        [LARGEST],
        [5e-324, LARGEST],
        [1e-12, 3e-12],
    ],
)
def test_every_finite_value_is_inside_of_the_plot_and_the_axis_has_labels(
    values: list[float], log: bool, fill: bool
) -> None:
    found = chart(values, log=log, fill=fill)
    picture, axis = plot(found), dom.parse(str(plots.y_axis(found)))
    drawn = [path["d"] for path in picture.all("path") if "gap" not in path.get("class", "")]
    numbers = [y for path in drawn for y in re.findall(r",([^LMZ]+)", path)]
    assert numbers and all(-7 <= float(y) <= found.height for y in numbers)
    labels = [text.text for text in axis.all("text")]
    assert len(set(labels)) == len(labels) >= (1 if log else 2)
    assert "inf" not in str(picture) and "nan" not in str(picture)


def test_counts_of_any_size_have_a_place() -> None:
    wide = replace(chart([1.0, 2.0]), x_low=-LARGEST, x_high=LARGEST)
    assert wide.share(-LARGEST) == 0 and wide.share(0.0) == 0.5 and wide.share(LARGEST) == 1
    assert "nan" not in str(plots.plot(wide))


def test_a_difference_is_filled_to_zero() -> None:
    found = plot(chart([-0.2, 0.1, -0.3], fill=True))
    assert found.one("path", class_="fill")["d"].endswith("Z")
    assert found.all("path", class_="raw") == []
    assert found.all("line", class_="zero")


def test_names_stand_right_of_the_curves_and_never_overlap() -> None:
    names = plot(chart(*[[3.0, 2.0, 1.0]] * 4)).all("text", class_="name")
    assert {one["x"] for one in names} == {"100%"}
    heights = sorted(float(one["y"]) for one in names)
    assert all(b - a >= 14 for a, b in zip(heights, heights[1:], strict=False))


def test_names_keep_the_order_of_their_curves() -> None:
    found = plot(chart([3.0, 1.02], [3.0, 1.01], [3.0, 1.0]))
    named = {one.text: float(one["y"]) for one in found.all("text", class_="name")}
    assert named["branch0"] < named["branch1"] < named["branch2"]


def test_where_there_is_no_room_for_a_name_it_is_counted() -> None:
    found = plot(chart(*[[3.0, 2.0]] * 30, [3.0, 2.0, 1.0]))
    names = found.all("text", class_="name")
    assert names[-1].text == "+ 17 more" and len(names) == 15
    heights = [float(name["y"]) for name in names]
    assert min(map(sub, heights[1:], heights)) >= plots._NAME_HEIGHT
    assert "branch30" in [one.text for one in names]
    assert all(0 < float(one["y"]) < 280 for one in names)


def test_the_axis_labels_are_round_numbers() -> None:
    axis = dom.parse(str(plots.y_axis(chart([1.9, 5.6]))))
    assert [one.text for one in axis.all("text")] == ["2", "3", "4", "5"]
    small = dom.parse(str(plots.y_axis(chart([-0.08, 0.06]))))
    assert [one.text for one in small.all("text")][0] == "−0.05"


def test_a_sparkline_spans_its_box() -> None:
    found = dom.parse(str(plots.sparkline([(0, 5.0), (1, None), (2, math.nan), (4, 1.0)])))
    assert found.one("path")["d"] == "M0.0,2.0L100.0,22.0"
    assert str(plots.sparkline([(0, 1.0)])) == ""
    flat = dom.parse(str(plots.sparkline([(0, 1.0), (1, 1.0)])))
    assert flat.one("path")["d"] == "M0.0,22.0L100.0,22.0"


def test_above_the_numbers_of_the_axis_a_line_is_free_for_the_name() -> None:
    axis = dom.parse(str(plots.y_axis(chart([0.0, 94.4]))))
    assert min(float(one["y"]) for one in axis.all("text")) >= 28
