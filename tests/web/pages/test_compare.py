"""The comparison of two branches."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest

from branchtrack.db import segments
from tests.web import dom, seeds
from tests.web.conftest import Site

BOTH = "/compare?a=gpt2-docs/main&b=gpt2-docs/cooler"


def data_of(site: Site, page: dom.Element, chart: str = "chart") -> dict[str, Any]:
    """What the page's script draws."""
    (plots,) = [each for each in page.all("div") if each.get("data-charts")]
    answer = site.client.get(plots["data-charts"]).json
    assert answer is not None
    drawn: dict[str, Any] = answer["charts"][("chart", "difference").index(chart)]
    for line in drawn["lines"]:
        line.setdefault("smooth", line["low"])
    return drawn


def test_the_shared_trunk_is_drawn_once_and_then_each_branch(site: Site) -> None:
    lines = data_of(site, site.get(BOTH))["lines"]
    assert [line["name"] for line in lines] == ["shared", "main", "cooler"]
    assert lines[0]["colour"] == "--trunk"
    assert lines[0]["xs"][-1] == 400
    assert lines[1]["xs"][0] == lines[2]["xs"][0] == 400


def test_the_two_differ_by_colour_and_dash(site: Site) -> None:
    _, a, b = data_of(site, site.get(BOTH))["lines"]
    assert a["colour"] != b["colour"]
    assert a["dash"] != b["dash"]


def test_branches_of_one_colour_are_told_apart_still(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    node = main.head
    for name in ("b1", "b2", "b3", "b4"):
        line = main.grower.fork(node, name, lr=1e-4)
        line.log("loss", [41, 42], [0.4, 0.3])
    lines = data_of(own, own.get("/compare?a=digits/main&b=digits/b4"))["lines"]
    assert lines[1]["colour"] != lines[2]["colour"]
    assert lines[1]["dash"] != lines[2]["dash"]


def test_the_fork_and_the_changes_are_marked(site: Site) -> None:
    data = data_of(site, site.get(BOTH))
    assert data["fork"] == 400
    assert [mark[2] for mark in data["lines"][2]["marks"]] == [
        "lr 1e-3 → 3e-4",
        "max_grad_norm 1 → 0.5",
    ]


def test_the_difference_is_b_minus_a_on_the_same_axis(site: Site) -> None:
    page = site.get(BOTH)
    upper, lower = data_of(site, page), data_of(site, page, "difference")
    assert lower["metric"] == "cooler − main"
    assert lower["range"][:2] == upper["range"][:2]
    assert lower["lines"][0]["xs"][0] == 401 and lower["lines"][0]["xs"][-1] == 1400


def test_settings_that_differ_say_who_changed_them_when(site: Site) -> None:
    page = site.get(BOTH)
    assert page.heading("Settings that differ").text == "Settings that differ 2 of 3"
    rows = {row["setting"]: row for row in page.table("Settings that differ")}
    assert rows["lr"]["main"] == "1e-3" and rows["lr"]["cooler"] == "3e-4"
    assert rows["lr"]["changed by"] == "cooler at step 400 by anna · “1e-3 is still noisy”"
    assert "at step 800" in rows["max_grad_norm"]["changed by"]


def test_values_stand_side_by_side_at_common_steps(site: Site) -> None:
    page = site.get(BOTH)
    rows = page.table("loss at common steps")
    assert (rows[0]["step"], rows[-1]["step"]) == ("401", "1,400")
    for row in rows:
        gap = float(row["cooler"]) - float(row["main"])
        assert float(row["difference"].replace("−", "-")) == pytest.approx(gap, abs=0.0011)
    held_out = page.table("eval_loss at common steps")
    assert [row["step"] for row in held_out][:2] == ["500", "600"]


def test_the_head_says_which_is_lower_and_since_when(site: Site) -> None:
    facts = site.get(BOTH).one("dl", class_="facts").text
    assert "main, step 1,400 2." in facts
    assert "cooler lower since" in facts


def test_any_axis_can_be_chosen(site: Site) -> None:
    since = data_of(site, site.get(BOTH + "&x=since"))
    assert since["fork"] == 0 and since["origin"] == 400
    assert since["lines"][0]["xs"][0] == -399 and since["lines"][1]["xs"][-1] == 1000
    epoch = data_of(site, site.get(BOTH + "&x=epoch"))
    assert epoch["lines"][1]["xs"][-1] == pytest.approx(1400 / 500, abs=0.01)
    time = data_of(site, site.get(BOTH + "&x=time"))
    assert time["lines"][1]["xs"][-1] == pytest.approx(1399 * 0.08 / 3600, rel=0.01)


def test_the_vertical_axis_can_be_logarithmic(site: Site) -> None:
    page = site.get(BOTH + "&y=log")
    assert data_of(site, page)["log"] is True
    assert data_of(site, page, "difference")["log"] is False


def test_smoothing_is_of_all_points_and_can_be_switched_off(site: Site) -> None:
    plain = data_of(site, site.get(BOTH + "&smooth=0"))["lines"][1]
    strong = data_of(site, site.get(BOTH + "&smooth=0.99"))["lines"][1]
    assert np.std(np.diff(strong["smooth"])) < np.std(np.diff(plain["smooth"])) / 5


def test_the_steps_shown_can_be_given_by_numbers(site: Site) -> None:
    page = site.get(BOTH + "&from=500&to=600")
    lines = data_of(site, page)["lines"]
    assert {line["name"] for line in lines} == {"main", "cooler"}
    assert all(500 <= x <= 600 for line in lines for x in line["xs"])
    assert len(lines[0]["xs"]) == 101
    assert page.by_role("link", "All steps")


def test_swapping_keeps_every_other_choice(site: Site) -> None:
    link = site.get(BOTH + "&y=log&smooth=0.9").by_role("link", "Swap")[0]["href"]
    page = site.get(link)
    assert page.one("h1").text == "cooler and main"
    assert data_of(site, page)["log"] is True and data_of(site, page)["weight"] == 0.9


def test_a_metric_that_there_is_not_is_refused_with_those_there_are(site: Site) -> None:
    page = site.get(BOTH + "&metric=accuracy", 404)
    assert "accuracy" in page.one("h1").text
    links = {one.text: one["href"] for one in page.one("main").all("a")}
    assert links.keys() >= {"loss", "eval_loss", "grad_norm", "lr"}
    assert site.get(links["lr"]).one("h1").text == "main and cooler"


def test_two_ticks_lead_to_the_comparison_however_often_each_was_set(site: Site) -> None:
    ticks = "pick=gpt2-docs/main&pick=gpt2-docs/hot&pick=gpt2-docs/main"
    answer = site.client.get(f"/compare?{ticks}&metric=loss")
    assert answer.status_code == 303
    page = site.get(answer.headers["Location"])
    assert page.one("h1").text == "main and hot"


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("pick=gpt2-docs/main", 422, "One was ticked"),
        ("&".join(f"pick=a/{n}" for n in range(9)), 422, "9 were ticked"),
        ("a=gpt2-docs/main", 422, "Two branches are needed"),
        ("a=gpt2-docs/main&b=gpt2-docs/main", 422, "compared with itself"),
        ("a=gpt2-docs/main&b=gpt2-docs", 422, "compared with itself"),
        ("a=gpt2-docs/main&b=gpt2-docs/nope", 404, "There is no branch"),
        ("a=gpt2-docs/main&b=nope/main", 404, "There is no run"),
        ("a=gpt2-docs/main&b=gpt2-docs/hot&x=moon", 422, "x"),
    ],
)
def test_what_cannot_be_compared_is_refused(site: Site, query: str, status: int, said: str) -> None:
    assert said in site.get(f"/compare?{query}", status).one("h1").text


def test_a_run_alone_means_its_first_branch(site: Site) -> None:
    assert site.get("/compare?a=gpt2-docs&b=gpt2-docs/hot").one("h1").text == "main and hot"


def test_the_spreadsheet_has_every_step_of_both(site: Site) -> None:
    answer = site.client.get("/compare.csv?a=gpt2-docs/main&b=gpt2-docs/hot&metric=loss")
    assert answer.mimetype == "text/csv"
    assert "main-hot-loss.csv" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    assert [int(row["step"]) for row in rows] == list(range(1, 1401))
    assert rows[399]["gpt2-docs/main"] == rows[399]["gpt2-docs/hot"]
    gap = float(rows[500]["gpt2-docs/hot"]) - float(rows[500]["gpt2-docs/main"])
    assert float(rows[500]["difference"]) == pytest.approx(gap)
    assert rows[-1]["gpt2-docs/hot"] == ""
    assert math.isnan(float(rows[645]["gpt2-docs/hot"]))


def test_runs_without_a_common_root_are_compared_whole(own: Site) -> None:
    other = seeds.Grower(own.database, own.store, "other").line("main")
    other.commit("root", 0)
    other.log("loss", [1, 2, 3], [3.0, 2.0, 1.0])
    page = own.get("/compare?a=digits/main&b=other/main")
    assert "without a common ancestor" in page.one("main").text
    assert page.one("h1").text == "digits/main and other/main"
    assert data_of(own, page)["fork"] is None
    assert [line["xs"][0] for line in data_of(own, page)["lines"]] == [1, 1]
    # Both branches are called main: the names tell them apart.
    assert [line["name"] for line in data_of(own, page)["lines"]] == ["digits/main", "other/main"]


def test_a_branch_that_has_not_begun_is_compared_too(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    main.grower.order(main.head, "waits", lr=1e-4)
    page = own.get("/compare?a=digits/main&b=digits/waits")
    assert "no common steps yet" in page.one("dl", class_="facts").text
    assert page.table("Settings that differ")[0]["setting"] == "lr"


def test_branches_that_logged_nothing_yet_are_compared_by_their_loss(empty: Site) -> None:
    grower = seeds.Grower(empty.database, empty.store, "fresh")
    root = grower.line("main").commit("root", 0)
    grower.fork(root, "side", lr=1e-4)
    compared = "a=fresh/main&b=fresh/side&metric=loss"
    assert empty.client.get(f"/compare?{compared}").status_code == 200
    assert empty.client.get(f"/compare.csv?{compared}").status_code == 200


def test_without_javascript_both_charts_are_drawn(site: Site) -> None:
    plots = site.get(BOTH).all("svg", class_="plot")
    assert [one["role"] for one in plots] == ["img", "img"]
    assert "cooler 1.9" in plots[0]["aria-label"] or "cooler 2." in plots[0]["aria-label"]
    assert plots[1]["aria-label"].startswith("cooler − main of loss: cooler lower since step")
    assert len(plots[0].all("path", class_="curve")) == 3


def test_two_branches_are_compared_by_what_ran_and_by_all_settings(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    fork = main.grower.fork(main.head, "other", lr=1e-4)
    with own.database.transaction() as connection:
        for line, commit in ((main, "aaa111"), (fork, "bbb222")):
            segments.set_code(connection, line.segment.id, {"commit": commit})
    address = "/compare?a=digits/main&b=digits/other"
    page = own.get(address)
    (row,) = page.table("Code and environment")
    assert (row["main"], row["other"]) == ("aaa111", "bbb222")
    assert [row["branch"] for row in page.table("Ranking")] == ["main", "other"]
    assert [row["setting"] for row in page.table("Settings that differ")] == ["lr"]
    (link,) = page.by_role("link", "All settings")
    assert len(own.get(link["href"]).table("Settings")) > 1
