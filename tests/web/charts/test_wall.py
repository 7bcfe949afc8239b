"""The charts of a wall: which metrics, on which axis, and how each is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from branchtrack.analysis import courses
from branchtrack.db.views import course_series
from branchtrack.db.views.chart_series import Metrics
from branchtrack.web.charts import tree_chart, wall
from branchtrack.web.charts.wall import Curves, Look
from branchtrack.web.view.tree import TreeView
from tests.web import seeds
from tests.web.charts.test_timeline import view
from tests.web.conftest import Site


def metrics(*names: str, chosen: str | None = None) -> Metrics:
    return Metrics(names, chosen or (names[0] if names else None), len(names))


def curves(site: Site, tree: TreeView, *names: str) -> Curves:
    spans = [tree_chart.spans(tree, each) for each in tree.branches]
    ids = sorted({span.segment for line in spans for span in line})
    with site.database.read() as connection:
        buckets = course_series.read_buckets(connection, ids, names, cuts=courses.cuts(spans))
    return Curves(tree.branches, buckets)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("loss", "accuracy", "eval_loss", "lr"), ("loss", "eval_loss", "lr")),
        (("train_loss", "learning_rate", "gradient_norm"), None),
        (("accuracy", "speed", "stall/copy_ms"), ("accuracy", "speed")),
        ((), ("loss",)),
    ],
)
def test_the_loss_comes_first_and_what_explains_it_below(
    names: tuple[str, ...], shown: tuple[str, ...] | None
) -> None:
    assert wall.choose(metrics(*names), ()) == (shown or names)


def test_metrics_that_were_asked_for_are_shown_as_they_are() -> None:
    assert wall.choose(metrics("loss", "a", "b"), ("b", "a", "b")) == ("b", "a")


def test_what_the_product_measures_is_offered_apart() -> None:
    listed = wall.offered(metrics("loss", "stall/copy_ms", "system/cpu"), ["loss"])
    assert listed == [("metrics", ["loss"]), ("system", ["stall/copy_ms", "system/cpu"])]


@pytest.mark.parametrize(
    ("metric", "smoothed"),
    [("loss", True), ("eval_loss", False), ("eval/loss", True), ("lr", False), ("a/epoch", False)],
)
def test_steps_and_rare_values_are_not_averaged(metric: str, smoothed: bool) -> None:
    assert wall.is_smoothed(metric) is smoothed


def test_all_charts_have_one_axis_and_the_last_has_its_labels(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0)
    read = curves(site, tree, "loss", "lr")
    charts = wall.build(tree, tree.branches, read, ["loss", "lr", "nothing"], Look(), 400)
    assert [one.metric for one in charts] == ["loss", "lr"]
    assert {(one.x_low, one.x_high) for one in charts} == {(0, 2000)}
    assert charts[0].height > charts[1].height and charts[0].foot < charts[1].foot


def test_a_branch_that_begins_after_the_window_is_not_in_it(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0)
    look = Look(window=(100, 1000))
    (chart,) = wall.build(tree, tree.branches, curves(site, tree, "loss"), ["loss"], look, 400)
    assert [line.name for line in chart.lines] == ["main", "hot", "cooler"]


def test_averages_of_a_fork_are_the_same_whatever_was_read_before_it(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0)
    read = curves(site, tree, "loss")
    cooler = next(each for each in tree.branches if each.name == "cooler")
    whole, part = (read.of(tree, cooler, "loss", whole=flag) for flag in (True, False))
    places = np.searchsorted(whole.steps, part.steps)
    for weight in (0.6, 0.99):
        np.testing.assert_allclose(
            part.smooth(weight)[-900:], whole.smooth(weight)[places][-900:], rtol=1e-5
        )


def test_branches_without_the_counter_are_named_and_shift_no_axis(own: Site) -> None:
    own.lines["main"].log("only_main", range(5, 11), 100.0 * np.arange(5, 11))
    own.lines["main"].log("late", range(39, 41), [1.0, 2.0])
    tree = view(own, "digits", 0.0)
    read = curves(own, tree, "loss", "late", "only_main")
    look = Look(axis="only_main")
    upper, lower = wall.build(tree, tree.branches, read, ["loss", "late"], look, 400)
    assert [line.name for line in upper.lines] == ["main"]
    assert upper.lines[0].steps == list(range(5, 11))
    assert (upper.x_low, upper.x_high) == (lower.x_low, lower.x_high) == (500, 1000)
    assert lower.lines == () and lower.note == "Not drawn, without only_main: main"


def test_the_trunk_is_read_whole(own: Site) -> None:
    main = own.lines["main"]
    main.log("loss", range(41, 4041), [1.0] * 4000)
    tree = view(own, "digits", main.grower.began + 200)
    read = curves(own, tree, "loss")
    assert read.of(tree, tree.branches[0], "loss", whole=False).steps[0] == 1


@pytest.mark.parametrize("axis", ["epoch", "time", "since", "tokens"])
def test_an_axis_can_be_any_quantity_that_grows(empty: Site, axis: str) -> None:
    line = seeds.Grower(empty.database, empty.store, "digits").line("main", 100)
    line.commit("root", 0)
    line.log("loss", range(1, 21), np.linspace(2, 1, 20))
    line.log("tokens", range(1, 21), 512.0 * np.arange(1, 21))
    line.commit("checkpoint", 20)
    tree = view(empty, "digits", 0.0)
    read = curves(empty, tree, "loss", "tokens")
    (chart,) = wall.build(tree, tree.branches, read, ["loss"], Look(axis=axis), 400)
    xs = chart.lines[0].xs
    assert chart.x_name == axis and xs == sorted(xs)
    if axis == "tokens":
        assert (xs[0], xs[-1]) == (512, 512 * 20)
