"""The charts of the tree page."""

from __future__ import annotations

import re
from typing import Any

import pytest

from branchtrack.db import metrics
from tests.web import dom, seeds
from tests.web.conftest import Site
from tests.web.pages.test_tree import TREE, node_rows


def charts_of(site: Site, page: dom.Element) -> dict[str, dict[str, Any]]:
    """What the page's script draws, by metric in the order of the charts."""
    answer = site.client.get(page.one(id="charts")["data-url"])
    assert answer.json is not None
    return {drawn["metric"]: drawn for drawn in answer.json["charts"]}


def chart_data(site: Site, page: dom.Element) -> dict[str, Any]:
    """What the script draws of the first chart."""
    return next(iter(charts_of(site, page).values()))


def test_the_chart_shares_the_timelines_axis(site: Site) -> None:
    page = site.get(TREE)
    timeline = page.one("svg", class_="timeline")
    data = chart_data(site, page)
    assert data["range"][:2] == [float(timeline["data-low"]), float(timeline["data-high"])]


def test_a_branch_is_drawn_from_its_fork_on(site: Site) -> None:
    lines = {line["name"]: line for line in chart_data(site, site.get(TREE))["lines"]}
    assert lines["main"]["xs"][0] == 1
    assert lines["cooler"]["xs"][0] == 400
    assert lines["more-decay"]["xs"][0] == 1200
    assert [mark[2] for mark in lines["cooler"]["marks"]] == [
        "lr 1e-3 → 3e-4",
        "max_grad_norm 1 → 0.5",
    ]


def test_values_that_are_not_numbers_are_a_gap_with_a_mark(site: Site) -> None:
    page = site.get(TREE)
    hot = next(line for line in chart_data(site, page)["lines"] if line["name"] == "hot")
    assert None in hot["low"]
    assert hot["gaps"] == [646]
    picture = site.client.get(TREE + "/chart.svg?metric=loss").get_data(as_text=True)
    assert picture.count("M-4,-4L4,4M4,-4L-4,4") == 1


def test_without_javascript_there_is_a_picture_and_a_table(site: Site) -> None:
    page = site.get(TREE)
    picture = page.one(id="charts").one("img")
    assert "main 2.192 at step 1,400" in picture["alt"]
    assert picture["alt"].startswith("loss, eval_loss, lr, grad_norm over training")
    assert site.client.get(picture["src"]).mimetype == "image/svg+xml"
    link = page.one(id="samples").by_role("link", "loss as a table")[0]
    table = site.get(link["href"]).table("loss as a table")
    assert len(table) == 20
    assert table[0].keys() == {"step", "main", "hot", "cooler", "more-decay"}
    assert table[-1]["step"] == "2,000"


def test_several_metrics_can_be_chosen_in_their_order(site: Site) -> None:
    page = site.get(TREE + "?metric=eval_loss&metric=lr")
    assert list(charts_of(site, page)) == ["eval_loss", "lr"]
    boxes = page.one(id="bar").all("input", type="checkbox")
    assert {one["value"] for one in boxes if "checked" in one.attributes} == {"eval_loss", "lr"}
    assert node_rows(page)[0]["eval_loss"] == "1.950"
    many = "&".join(f"metric=m{number}" for number in range(13))
    assert "at most 12 metrics" in site.get(f"{TREE}?{many}", 422).one("main").text


@pytest.mark.parametrize("axis", ["epoch", "time", "since", "grad_norm"])
def test_the_axis_can_be_another_quantity(site: Site, axis: str) -> None:
    page = site.get(f"{TREE}?x={axis}&branch=main&branch=cooler")
    drawn = charts_of(site, page)
    assert {chart["x"] for chart in drawn.values()} == {axis}
    assert len({tuple(chart["range"][:2]) for chart in drawn.values()}) == 1
    cooler = next(line for line in drawn["loss"]["lines"] if line["name"] == "cooler")
    assert cooler["xs"][0] == 0 if axis == "since" else True
    site.get(f"{TREE}?x=nothing", 404)


def test_rates_are_not_smoothed_and_a_logarithm_is_only_of_what_is_positive(site: Site) -> None:
    drawn = charts_of(site, site.get(TREE + "?y=log"))
    assert {name: chart["weight"] for name, chart in drawn.items()} == {
        "loss": 0.6,
        "eval_loss": 0,
        "lr": 0,
        "grad_norm": 0.6,
    }
    assert all(chart["log"] for chart in drawn.values())


def test_an_unknown_metric_is_refused_with_those_there_are(site: Site) -> None:
    page = site.get(TREE + "?metric=accuracy", 404)
    assert "accuracy" in page.one("h1").text
    assert page.by_role("link", "grad_norm")[0]["href"] == TREE + "?metric=grad_norm"


def test_the_steps_shown_can_be_given_by_numbers(site: Site) -> None:
    page = site.get(TREE + "?from=300&to=600")
    timeline = page.one("svg", class_="timeline")
    assert (timeline["data-low"], timeline["data-high"]) == ("300", "600")
    assert chart_data(site, page)["range"][:2] == [300, 600]
    assert "to: 300" in site.get(TREE + "?from=600&to=300", 422).one("h1").text


def test_steps_that_the_address_names_are_marked_in_the_chart(site: Site) -> None:
    page = site.get(TREE + "?branch=cooler&at=800&at=1200")
    assert chart_data(site, page)["guides"] == [800, 1200]
    picture = site.client.get(TREE + "/chart.svg?branch=cooler&at=800&at=1200&metric=loss")
    guides = re.findall(r'<line x1="([^"]+)"[^>]*stroke="#0068a3"', picture.get_data(as_text=True))
    assert guides == ["40%", "60%"]
    site.get(TREE + "?at=x", 422)
    site.get(TREE + "?" + "&".join(["at=1"] * 9), 422)


def test_a_run_that_logs_no_loss_shows_the_likeliest_metric(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "other").line("main")
    line.log("accuracy", [1, 2], [0.1, 0.2])
    line.log("train/loss", [1, 2], [2.0, 1.0])
    assert chart_data(empty, empty.get("/runs/other"))["metric"] == "train/loss"


def test_of_very_many_metrics_the_likeliest_are_listed_and_any_can_be_named(own: Site) -> None:
    names = [f"layer/{number:03}/norm" for number in range(300)]
    points = [(name, 1, 1.0, 1.0) for name in names]
    with own.database.transaction() as connection:
        metrics.append(connection, own.lines["main"].segment.id, points)
    bar = own.get("/runs/digits").one(id="bar")
    boxes = bar.all("input", type="checkbox")
    assert len(boxes) == 40 and boxes[0]["value"] == "loss"
    assert "40 of 301 names" in bar.text
    page = own.get(f"/runs/digits?metric={names[-1]}")
    assert chart_data(own, page)["metric"] == names[-1]


def test_the_charts_can_be_asked_for_alone(site: Site) -> None:
    answer = site.client.get(TREE + "/chart?metric=loss")
    assert answer.json is not None
    (chart,) = answer.json["charts"]
    assert [line["name"] for line in chart["lines"]] == list(site.lines)
