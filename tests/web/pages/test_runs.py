"""The list of runs."""

from __future__ import annotations

import math
import time
from urllib.parse import quote

import pytest

from branchtrack import control
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
    assert row["last(loss)"].startswith("1.8")
    assert row["lr"] == "1.5e-4 (4)" and row["best(eval_loss)"].startswith("1.8")


def test_a_query_that_is_too_long_is_refused_rather_than_cut(empty: Site) -> None:
    seeds.Grower(empty.database, empty.store, "run-0000")
    query = f"run-0000{' ' * 2500}lr<0"
    page = empty.get(f"/runs?q={quote(query)}", 422)
    assert "query:" in page.one("main").text and "at most 2,000 characters" in page.one("main").text
    answer = empty.client.post("/runs/views", data={"name": "cut", "q": query})
    assert answer.status_code == 422 and b"at most 2,000 characters" in answer.data
    assert rows(empty.get(f"/runs?q={quote('run-0000' + ' ' * 2500)}")).keys() == {"run-0000"}
    page = empty.get(f"/runs/run-0000?q=checkpoint{'+' * 200}zzzz", 422)
    assert "at most 200 characters" in page.text


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
    assert "last(loss)" not in row and (row["trend"], row["step"]) == ("", "0 of 2,000")
    assert page.all("svg", class_="spark") == []


def test_a_run_without_branches_is_listed_too(empty: Site) -> None:
    seeds.Grower(empty.database, empty.store, "bare")
    assert rows(empty.get("/"))["bare"]["status"] == "no node yet"


def test_a_loss_that_is_not_a_number_is_said_to_be_none(empty: Site) -> None:
    line = seeds.Grower(empty.database, empty.store, "burst").line("main")
    line.log("loss", [1, 2, 3], [2.0, 1.0, math.nan])
    assert rows(empty.get("/"))["burst"]["last(loss)"] == "NaN"


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
    assert "1–50 of 53 runs" in first.one("main").text
    older = first.by_role("link", "Last")[0]["href"]
    second = empty.get(older)
    assert len(second.table("Runs")) == 3 and "51–53 of 53 runs" in second.one("main").text
    assert second.by_role("link", "Previous")[0]["href"] == "/runs"
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


def several(site: Site) -> None:
    """Three runs with settings and held-out values, one of them archived, and one that trains."""
    for name, lr, value in (("slow", 1e-4, 2.0), ("fast", 1e-2, 3.0), ("old", 1e-5, 1.0)):
        line = seeds.Grower(site.database, site.store, name).line("main")
        line.log("eval_loss", [1, 2], [9.0, value])
        line.settings["lr"] = lr
        line.beat()
        line.end("finished")
    control.label(site.database, "old", actor="ann", archived=True)
    seeds.Grower(site.database, site.store, "live").line("main").beat()


def names(page: dom.Element) -> list[str]:
    return [row["run"].split()[0] for row in page.table("Runs")]


def test_the_newest_run_comes_first_and_the_best_held_out_value_by_its_head(empty: Site) -> None:
    several(empty)
    assert names(empty.get("/")) == ["live", "fast", "slow"]
    page = empty.get("/runs?sort=best(eval_loss)")
    assert names(page) == ["slow", "fast", "live"]
    assert rows(page)["slow"]["best(eval_loss)"] == "2.000" and rows(page)["slow"]["lr"] == "1e-4"
    assert "1 archived" in page.one("main").text


def test_heads_sort_and_say_so(empty: Site) -> None:
    several(empty)
    page = empty.get("/runs?q=lr>0&sort=-lr")
    assert names(page) == ["fast", "slow"] or names(page)[0] == "fast"
    head = next(head for head in page.all("th") if head.text.strip() == "lr")
    assert head["aria-sort"] == "descending"
    link = head.one("a")["href"]
    assert "sort=lr" in link and "q=lr" in link
    turned = empty.get(link)
    assert names(turned)[0] == "slow"
    assert next(h for h in turned.all("th") if h.text.strip() == "lr")["aria-sort"] == "ascending"


def test_a_query_filters_and_words_find_what_is_archived(empty: Site) -> None:
    several(empty)
    assert names(empty.get("/runs?q=best(eval_loss)<2.5")) == ["slow"]
    assert names(empty.get("/runs?q=status:training")) == ["live"]
    assert names(empty.get("/runs?q=archived:yes")) == names(empty.get("/runs?q=old")) == ["old"]


def test_a_bad_query_is_marked_where_it_cannot_be_read(empty: Site) -> None:
    several(empty)
    page = empty.get("/runs?q=lr<1e-3+status:dead&sort=lr", 422)
    assert page.field("Search runs")["value"] == "lr<1e-3 status:dead"
    assert "▸status:dead" in page.text and "running (or training)" in page.text
    assert "best()" in page.text and page.all("table") == []
    assert "no column" in empty.get("/runs?sort=a+b", 422).text
    assert empty.get("/runs?columns=mean(x)", 422).field("Columns")["value"] == "mean(x)"


def test_columns_and_groups_are_chosen_in_the_address(empty: Site) -> None:
    several(empty)
    page = empty.get("/runs?columns=lr,updated&sort=name")
    heads = [head.text.strip() for head in page.all("th")]
    assert heads == ["choose", "run", "lr", "updated"]
    grouped = empty.get("/runs?by=status&sort=name").one("main").text
    assert "finished 2 runs" in " ".join(grouped.split())
    assert "training 1 run" in " ".join(grouped.split())


def test_a_list_is_saved_under_a_name_and_removed(empty: Site) -> None:
    several(empty)
    data = {"name": "low lr", "q": "lr<1e-3", "sort": "lr"}
    answer = empty.client.post("/runs/views", data=data)
    assert answer.status_code == 303
    page = empty.get(answer.headers["Location"])
    link = page.by_role("link", "low lr")[0]
    assert link["aria-current"] == "true" and names(empty.get(link["href"]))[0] == "slow"
    assert empty.client.post("/runs/views", data={"q": "lr<1", "name": " "}).status_code == 422
    empty.client.post("/runs/views/remove", data={"name": "low lr"})
    assert not empty.get("/").by_role("link", "low lr")


def test_a_saved_view_is_shown_by_its_name(empty: Site) -> None:
    several(empty)
    assert "No view is saved." in empty.get("/runs?view=nosuch", 404).text
    empty.client.post("/runs/views", data={"name": "low lr", "q": "lr<1e-3", "sort": "lr"})
    answer = empty.client.get("/runs?view=low+lr&sort=-lr")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/runs?q=lr%3C1e-3&sort=-lr"
    page = empty.get("/runs?view=nosuch", 404).text
    assert "no saved view 'nosuch'" in page and "These are saved: low lr." in page


def test_a_list_that_has_not_changed_is_not_sent_again(empty: Site) -> None:
    several(empty)
    address = empty.get("/").one(id="list")["hx-get"]
    headers = {"HX-Request": "true", "HX-Target": "div#list"}
    with pytest.MonkeyPatch.context() as patch:
        moment = time.time()
        patch.setattr("branchtrack.web.pages.runs.now", lambda: moment)
        address = empty.get("/").one(id="list")["hx-get"]
        assert empty.client.get(address, headers=headers).status_code == 204
        control.label(empty.database, "slow", actor="ann", add=["good"])
        changed = empty.client.get(address, headers=headers)
    assert changed.status_code == 200 and "good" in changed.text
    assert empty.client.get(address).status_code == 200


def test_the_name_of_a_column_may_break_only_between_its_words(site: Site) -> None:
    page = site.client.get("/").get_data(as_text=True)
    assert ">best(<wbr>eval_loss)</a>" in page


def test_a_name_in_a_query_that_no_run_has_is_said(site: Site) -> None:
    text = site.get("/runs?q=nosuchthing<3").one("main").text
    assert "No run has a setting or metric named nosuchthing." in text
    assert "No run has a metric named los." in site.get("/runs?q=max(los)<1").text
    assert "named" not in site.get("/runs?q=max(loss)<0").one("main").text
    answer = site.client.get("/api/v1/runs?query=nosuchthing<3").get_json()
    assert answer["hints"] == ["No run has a setting or metric named nosuchthing."]
