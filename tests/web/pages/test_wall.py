"""The charts' values, as the script reads them."""

from __future__ import annotations

import csv
import io
import math
import sys

import pytest

from tests.web import seeds
from tests.web.conftest import Site


def test_charts_come_for_the_branches_metrics_and_steps_of_the_address(site: Site) -> None:
    answer = site.client.get(
        "/runs/gpt2-docs/chart?branch=main&metric=lr&metric=loss&from=100&to=200"
    )
    assert answer.json is not None
    charts = answer.json["charts"]
    assert [chart["metric"] for chart in charts] == ["lr", "loss"]
    assert [[line["name"] for line in chart["lines"]] for chart in charts] == [["main"]] * 2
    xs = charts[1]["lines"][0]["xs"]
    assert (xs[0], xs[-1]) == (100, 200) and charts[1]["range"][:2] == [100, 200]


def test_what_is_equal_is_sent_once(site: Site) -> None:
    answer = site.client.get("/runs/gpt2-docs/chart?metric=lr&branch=main")
    assert answer.json is not None
    (line,) = answer.json["charts"][0]["lines"]
    assert "high" not in line and "smooth" not in line and len(line["low"]) == len(line["xs"])


@pytest.mark.parametrize(
    ("query", "status"), [("metric=nope", 404), ("x=nope", 404), ("y=cubic", 422), ("to=0", 422)]
)
def test_what_there_is_not_is_refused(site: Site, query: str, status: int) -> None:
    assert site.client.get(f"/runs/gpt2-docs/chart?{query}").status_code == status


def test_a_run_without_any_metric_is_asked_for_what_will_be_in_it(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "fresh").line("main")
    line.commit("root", 0)
    assert empty.get("/runs/fresh?metric=loss").one("h1").text == "fresh"
    assert empty.client.get("/runs/fresh/chart?metric=loss").status_code == 200
    empty.get("/runs/fresh?metric=nope", 404)
    line.log("train_loss", [1], [1.0])
    empty.get("/runs/fresh?metric=loss", 404)


def test_every_point_of_a_chart_can_be_had_as_a_table(site: Site) -> None:
    answer = site.client.get("/runs/gpt2-docs/chart.csv?metric=loss&branch=cooler&from=401&to=403")
    assert answer.mimetype == "text/csv"
    assert 'filename="gpt2-docs-loss.csv"' in answer.headers["Content-Disposition"].replace(
        "filename=gpt2-docs-loss.csv", 'filename="gpt2-docs-loss.csv"'
    )
    rows = [line.split(",") for line in answer.get_data(as_text=True).splitlines()]
    assert rows[0] == ["metric", "branch", "step", "value", "time"]
    assert [row[:3] for row in rows[1:]] == [
        ["loss", "cooler", str(step)] for step in (401, 402, 403)
    ]


def test_a_metric_whose_name_is_a_formula_is_text_in_the_table(own: Site) -> None:
    name = '=HYPERLINK("http://evil.example")'
    own.lines["main"].log(name, [1, 2], [-0.5, math.inf])
    answer = own.client.get("/runs/digits/chart.csv", query_string={"metric": name})
    rows = list(csv.reader(io.StringIO(answer.get_data(as_text=True))))[1:]
    assert [row[0] for row in rows] == [f"'{name}"] * 2
    assert [row[3] for row in rows] == ["-0.5", "inf"]


def test_pages_of_a_branch_and_a_node_show_its_charts(site: Site) -> None:
    steer = site.get("/runs/gpt2-docs/branches/more-decay/steer").one(id="charts")
    node = site.get(f"/nodes/{site.node('hot')}").one(id="charts")
    for charts in (steer, node):
        answer = site.client.get(charts["data-url"])
        assert answer.json is not None
        assert [chart["metric"] for chart in answer.json["charts"]][:2] == ["loss", "eval_loss"]
        assert site.client.get(charts.one("img")["src"]).mimetype == "image/svg+xml"
    assert "at=900" in node["data-url"]


def test_a_chart_by_a_counter_that_only_a_fork_has_names_the_others(own: Site) -> None:
    main = own.lines["main"]
    low = main.grower.fork(main.commit("checkpoint", 40), "low", lr=1e-4)
    low.log("loss", range(41, 46), [1.0] * 5)
    low.log("only_b", range(42, 44), [7.0, 8.0])
    query = "/runs/digits/chart?metric=loss&x=only_b"
    answer = own.client.get(query)
    assert answer.json is not None
    (chart,) = answer.json["charts"]
    assert [(line["name"], line["xs"]) for line in chart["lines"]] == [("low", [7, 8])]
    assert chart["note"] == "Not drawn, without only_b: main"
    alone = own.client.get(query + "&branch=main")
    assert alone.json is not None and alone.json["charts"][0]["lines"] == []
    picture = own.client.get("/runs/digits/chart.svg?metric=loss&x=only_b&branch=main")
    assert "without only_b: main" in picture.get_data(as_text=True)
    assert own.client.get("/runs/digits/chart/table?metric=loss&x=only_b").status_code == 200


@pytest.mark.parametrize("values", [[5e-324, 1e-320, 1e-310], [1e308, -1e308, sys.float_info.max]])
def test_values_at_the_ends_of_what_floats_hold_are_drawn(own: Site, values: list[float]) -> None:
    main = own.lines["main"]
    low = main.grower.fork(main.commit("checkpoint", 40), "low", lr=1e-4)
    main.log("edge", range(38, 44), [1.0, 0.0, 0.0, *values])
    low.log("edge", range(41, 44), [-value for value in values])
    for smooth in (0, 0.6):
        options = f"metric=edge&smooth={smooth}"
        picture = own.client.get(f"/runs/digits/chart.svg?{options}").get_data(as_text=True)
        assert "inf" not in picture and "nan" not in picture
        page = own.get(f"/compare?a=digits/main&b=digits/low&{options}")
        shapes = [path["d"] for path in page.all("path") if path.get("d")]
        assert shapes and not [d for d in shapes if "inf" in d or "nan" in d]
        assert own.get("/runs/digits").one("main")
    table = own.client.get("/runs/digits/chart/table?metric=edge&smooth=0")
    assert table.status_code == 200
