"""The list of runs."""

from __future__ import annotations

import math

from tests.web import dom, seeds
from tests.web.conftest import Site


def rows(page: dom.Element) -> dict[str, dict[str, str]]:
    return {row["run"]: row for row in page.table("Runs")}


def test_both_addresses_list_the_runs(site: Site) -> None:
    for path in ("/", "/runs"):
        assert rows(site.get(path)).keys() == {"gpt2-docs"}


def test_a_row_says_how_the_run_does(site: Site) -> None:
    row = rows(site.get("/"))["gpt2-docs"]
    assert row["status"] == "training"
    assert (row["branches"], row["nodes"]) == ("4", "14")
    assert row["step"] == "1,760 of 2,000"
    assert row["steps/s"] == "11.80"
    assert row["last loss"].startswith("1.8")


def test_the_name_leads_to_the_tree(site: Site) -> None:
    assert site.get("/").by_role("link", "gpt2-docs")[0]["href"] == "/runs/gpt2-docs"


def test_a_home_without_runs_shows_the_lines_that_make_one(empty: Site) -> None:
    page = empty.get("/")
    assert page.heading("No run yet")
    code = [one.text for one in page.all("code")]
    assert "branchtrack demo" in code
    assert "make_branching(Trainer)" in code[1]
    assert page.all("table") == []


def test_search_finds_names_by_any_part_and_says_when_there_is_none(empty: Site) -> None:
    for name in ("gpt2-docs", "gpt2-code", "digits"):
        seeds.Grower(empty.database, empty.store, name)
    assert rows(empty.get("/runs?q=GPT2")).keys() == {"gpt2-docs", "gpt2-code"}
    page = empty.get("/runs?q=zzz")
    assert "No run has “zzz”" in page.one("main").text
    assert page.field("Search runs")["value"] == "zzz"


def test_the_marks_of_like_are_plain_text_in_a_search(empty: Site) -> None:
    seeds.Grower(empty.database, empty.store, "digits")
    assert "No run has" in empty.get("/runs?q=%25").one("main").text
    assert "No run has" in empty.get("/runs?q=d_gits").one("main").text


def test_htmx_gets_the_list_alone(site: Site) -> None:
    headers = {"HX-Request": "true", "HX-Target": "div#list"}
    text = site.client.get("/runs?q=gpt", headers=headers).get_data(as_text=True)
    assert text.lstrip().startswith('<div id="list"')
    assert rows(dom.parse(text)).keys() == {"gpt2-docs"}


def test_a_run_without_metrics_has_no_loss_and_no_curve(empty: Site) -> None:
    seeds.Grower(empty.database, empty.store, "fresh").line("main").commit("root", 0)
    page = empty.get("/")
    row = rows(page)["fresh"]
    assert (row["last loss"], row["course"], row["step"]) == ("–", "", "0 of 2,000")
    assert page.all("svg", class_="spark") == []


def test_a_run_without_branches_is_listed_too(empty: Site) -> None:
    seeds.Grower(empty.database, empty.store, "bare")
    assert rows(empty.get("/"))["bare"]["status"] == "no node yet"


def test_a_loss_that_is_not_a_number_is_said_to_be_none(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "burst").line("main")
    line.log("loss", [1, 2, 3], [2.0, 1.0, math.nan])
    assert rows(empty.get("/"))["burst"]["last loss"] == "NaN"


def test_the_curve_of_a_branch_goes_through_its_parents_points_and_no_others(site: Site) -> None:
    path = site.get("/").one("svg", class_="spark").one("path")["d"]
    xs = [float(spot.split(",")[0]) for spot in path.removeprefix("M").split("L")]
    assert xs == sorted(xs)
    assert len(xs) > 60
    assert xs[0] == 0 and xs[-1] == 100


def test_a_process_that_no_longer_answers_is_lost(own: Site) -> None:
    with own.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE segments SET heartbeat_at = 1, started_at = 1")
    assert rows(own.get("/"))["digits"]["status"] == "lost"


def test_long_lists_come_in_pages(empty: Site) -> None:
    for number in range(53):
        seeds.Grower(empty.database, empty.store, f"run{number:02}")
    first = empty.get("/runs")
    assert len(first.table("Runs")) == 50
    assert "53 runs" in first.one("main").text
    older = first.by_role("link", "Older")[0]["href"]
    second = empty.get(older)
    assert len(second.table("Runs")) == 3
    assert second.by_role("link", "Newer")
    assert "no runs on this page" in empty.get("/runs?page=9").one("main").text


def test_a_page_that_is_no_number_is_refused(empty: Site) -> None:
    assert "page" in empty.get("/runs?page=x", 422).one("h1").text


def test_a_series_of_thousands_is_drawn_from_its_blocks_with_every_spike(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "long").line("main", 9000)
    values = [3.0 - 0.0002 * step for step in range(6000)]
    values[2500] = 9.0
    line.log("loss", list(range(1, 6001)), values)
    path = empty.get("/").one("svg", class_="spark").one("path")["d"]
    heights = [float(spot.split(",")[1]) for spot in path.removeprefix("M").split("L")]
    assert min(heights) == 2.0
    assert sum(height < 10 for height in heights) <= 2
