"""More than two branches or nodes side by side."""

from __future__ import annotations

import math

import pytest

from branchtrack.core.trials.records import Arm
from branchtrack.db import runs
from branchtrack.db.orders import groups
from tests.web import seeds
from tests.web.conftest import Site
from tests.web.pages.test_compare import data_of
from tests.web.test_budgets import statements
from tests.web.tried import make_trial

THREE = "/compare?a=gpt2-docs/main&b=gpt2-docs/cooler&with=gpt2-docs/hot"
TWO = "a=gpt2-docs/main&b=gpt2-docs/cooler"
FOUR = THREE + "&with=gpt2-docs/more-decay"


def test_each_line_is_drawn_from_where_all_parted(site: Site) -> None:
    page = site.get(FOUR)
    lines = data_of(site, page)["lines"]
    assert [line["name"] for line in lines] == ["shared", "main", "cooler", "hot", "more-decay"]
    assert lines[0]["xs"][-1] == 400 and all(line["xs"][0] == 400 for line in lines[1:])
    looks = {(line["colour"], str(line["dash"])) for line in lines[1:]}
    assert len(looks) == 4
    assert page.one("h1").text == "4 side by side"


def test_differences_are_to_the_chosen_one(site: Site) -> None:
    lower = data_of(site, site.get(THREE), "difference")
    assert [line["name"] for line in lower["lines"]] == ["cooler", "hot"]
    page = site.get(THREE + "&base=gpt2-docs/hot")
    lower = data_of(site, page, "difference")
    assert [line["name"] for line in lower["lines"]] == ["main", "cooler"]
    assert lower["metric"] == "loss − hot"
    assert lower["lines"][0]["xs"][0] == 401 and lower["lines"][0]["xs"][-1] == 900
    rows = page.table("Ranking")
    assert [row["difference"] for row in rows if row["branch"] == "hot"] == ["0"]


def test_the_best_on_held_out_data_comes_first(site: Site) -> None:
    page = site.get(FOUR)
    assert "by eval_loss, held-out" in page.heading("Ranking").text
    rows = page.table("Ranking")
    best = [float(row["best"]) for row in rows]
    assert best == sorted(best) and len(rows) == 4 and rows[0]["branch"] == "more-decay"


def test_settings_that_differ_are_a_matrix_and_all_are_a_link_away(site: Site) -> None:
    page = site.get(FOUR)
    rows = {row["setting"]: row for row in page.table("Settings that differ")}
    assert rows.keys() == {"lr", "max_grad_norm", "weight_decay"}
    assert [rows["lr"][name] for name in ("main", "cooler", "hot")] == ["1e-3", "3e-4", "5e-3"]
    whole = site.get(page.by_role("link", "All settings")[0]["href"])
    assert len(whole.table("Settings")) >= 3
    assert whole.by_role("link", "Only those that differ")


def test_changes_of_all_are_in_order(site: Site) -> None:
    rows = site.get(FOUR).table("Changes since the fork")
    steps = [int(row["step"].replace(",", "")) for row in rows]
    assert steps == sorted(steps) == [400, 400, 800, 1200, 1600]
    assert rows[2]["branch"] == "cooler, more-decay"


def test_nodes_stand_beside_branches(site: Site) -> None:
    node = site.node("cooler")
    page = site.get(f"/compare?a=gpt2-docs/main&b={node}&with=gpt2-docs/hot")
    assert [line["name"] for line in data_of(site, page)["lines"][1:]] == [
        "main",
        "cooler at 2,000",
        "hot",
    ]


@pytest.mark.parametrize("query", ["a={}&b={}", "a={}&with={}", "with={}&with={}"])
def test_two_of_which_one_is_a_node_are_compared_as_three_are(site: Site, query: str) -> None:
    node = site.node("cooler")
    for ref, name in (("gpt2-docs/hot@900", "hot at 900"), (node, "cooler at 2,000")):
        page = site.get("/compare?" + query.format("gpt2-docs/main", ref))
        assert page.one("h1").text == "2 side by side"
        assert [line["name"] for line in data_of(site, page)["lines"][1:]] == ["main", name]
    page = site.get("/compare?" + query.format("gpt2-docs/cooler@800", "gpt2-docs/hot@900"))
    names = [line["name"] for line in data_of(site, page)["lines"][1:]]
    assert names == ["cooler at 800", "hot at 900"]


def test_groups_stand_for_their_branches(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    node = main.head
    with own.database.transaction() as connection:
        group = groups.create(connection, main.grower.run.id, "rates", "values", actor="ann")
    for number in range(3):
        line = main.grower.fork(node, f"rate-{number}", lr=10**-number)
        line.log("loss", [41, 42], [0.4 + number, 0.3])
        with own.database.transaction() as connection:
            branch = runs.get_branch(connection, line.branch.id)
            groups.add_branch(connection, group, branch)
    page = own.get("/compare?group=digits/rates")
    names = [line["name"] for line in data_of(own, page)["lines"][1:]]
    assert names == ["rate-0", "rate-1", "rate-2"]
    band = own.get("/compare?group=digits/rates&with=digits/main&bands=1")
    names = [line["name"] for line in data_of(own, band)["lines"][1:]]
    assert names == ["main", "rates"]
    values = data_of(own, band)["lines"][-1]
    assert (values["low"][-2], values["high"][-2]) == (0.4, 2.4)
    assert band.table("Settings that differ")[0]["rates"] == "0.01 to 1"
    assert "(3 branches)" in band.one("main").text
    assert "There is no group" in own.get("/compare?group=digits/rate", 404).one("h1").text


def test_ticks_of_two_to_eight_lead_to_the_page(site: Site) -> None:
    ticks = "&".join(f"pick=gpt2-docs/{name}" for name in ("main", "hot", "cooler"))
    answer = site.client.get(f"/compare?{ticks}&metric=loss")
    assert answer.status_code == 303
    assert site.get(answer.headers["Location"]).one("h1").text == "3 side by side"


def test_two_lead_to_the_page_of_two(site: Site) -> None:
    answer = site.client.get(
        "/compare?a=gpt2-docs/main&b=gpt2-docs/cooler&base=gpt2-docs/cooler&metric=lr"
    )
    assert answer.status_code == 303
    assert answer.location == "/compare?a=gpt2-docs/cooler&b=gpt2-docs/main&metric=lr"
    for base, a, b in (("main", "main", "cooler"), ("cooler", "cooler", "main")):
        answer = site.client.get(f"/compare?{TWO}&base={base}")
        assert answer.location == f"/compare?a=gpt2-docs/{a}&b=gpt2-docs/{b}"


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("&".join(f"pick=a/{n}" for n in range(9)), 422, "9 were ticked"),
        ("with=gpt2-docs/main", 422, "1 branches, groups or nodes"),
        (TWO + "&base=zz", 422, "base: 'zz'"),
        (TWO + "&settings=zz", 422, "settings: 'zz'"),
        (TWO + "&bands=9", 422, "bands: '9'"),
        (THREE.partition("?")[2] + "&with=gpt2-docs", 422, "is there twice"),
        (THREE.partition("?")[2] + "&base=nope", 422, "base"),
        (THREE.partition("?")[2] + "&metric=nope", 404, "nope"),
        (THREE.partition("?")[2] + "&with=gpt2-docs/nope", 404, "There is no branch"),
    ],
)
def test_what_cannot_be_compared_is_refused(site: Site, query: str, status: int, said: str) -> None:
    assert said in site.get(f"/compare?{query}", status).one("h1").text


def test_more_lines_take_no_more_statements(site: Site) -> None:
    with statements(site) as three:
        site.get(THREE)
    with statements(site) as four:
        site.get(FOUR)
    assert len(four) <= len(three)


def test_without_javascript_both_charts_are_drawn(site: Site) -> None:
    plots = site.get(FOUR).all("svg", class_="plot")
    assert len(plots) == 2 and len(plots[0].all("path", class_="curve")) == 5


def test_a_trial_is_a_band_without_its_change_and_one_with_each(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    pairs = [(2.0 + n, 1.9 + n, 2.1 + n) for n in range(4)]
    arms = [Arm("lr=x0.5", {"lr": "x0.5"}), Arm("lr=x3", {"lr": "x3"})]
    make_trial(main.grower, main.head, pairs, arms=arms, group="rates")
    page = own.get("/compare?group=digits/rates")
    lines = data_of(own, page)["lines"][1:]
    assert [line["name"] for line in lines] == [
        "control of rates",
        "lr=x0.5 of rates",
        "lr=x3 of rates",
    ]
    based = own.get("/compare?group=digits/rates&base=lr%3Dx3+of+rates")
    assert "− lr=x3 of rates" in based.one("main").text


def test_a_group_of_more_than_eight_is_a_band(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    node = main.head
    with own.database.transaction() as connection:
        group = groups.create(connection, main.grower.run.id, "many", "values", actor="ann")
    for number in range(9):
        line = main.grower.fork(node, f"n-{number}", lr=1e-4)
        line.log("loss", [41], [float(number)])
        with own.database.transaction() as connection:
            branch = runs.get_branch(connection, line.branch.id)
            groups.add_branch(connection, group, branch)
    page = own.get("/compare?group=digits/many")
    line = data_of(own, page)["lines"][-1]
    assert line["name"] == "many" and (line["low"][-1], line["high"][-1]) == (0, 8)
    every = "&".join(f"with=digits/n-{number}" for number in range(9))
    assert "9 branches, groups or nodes" in own.get(f"/compare?{every}", 422).one("h1").text


@pytest.mark.parametrize("query", [THREE, "/compare?" + TWO])
def test_lines_are_drawn_over_what_was_counted(own: Site, query: str) -> None:
    main = own.lines["main"]
    assert main.head is not None
    main.log("num_tokens", range(1, 41), [512.0 * step for step in range(1, 41)])
    for name in ("cooler", "hot"):
        line = main.grower.fork(main.head, name, lr=1e-4)
        line.log("loss", [41, 42], [0.4, 0.3])
        line.log("num_tokens", [41, 42], [30_000.0, 40_000.0])
    query = query.replace("gpt2-docs", "digits")
    page = own.get(f"{query}&x=num_tokens")
    assert page.by_role("link", "num_tokens")[-1]["aria-current"] == "true"
    lines = {line["name"]: line for line in data_of(own, page)["lines"]}
    assert lines["cooler"]["xs"][-2:] == [30_000, 40_000] and data_of(own, page)["fork"] == 20_480
    refused = own.get(f"{query}&x=nope", 422)
    assert "x" in refused.text and "num_tokens" in refused.text


def test_ticked_groups_are_compared_with_the_changes_of_their_branches(empty: Site) -> None:
    grower = seeds.Grower(empty.database, empty.store, "wide")
    main = grower.line("main", 100)
    root = main.commit("root", 0)
    main.log("loss", [1, 2], [2.5, 2.5])
    for name, lr in (("fan", 1e-3), ("sweep", 1e-4)):
        with empty.database.transaction() as connection:
            group = groups.create(connection, root.run_id, name, "values", actor="ann")
        for number in range(2):
            line = grower.fork(root, f"{name}-{number}", lr=lr * (1 + number))
            line.log("loss", [1, 2], [2.0, 1.0])
            line.end("finished")
            with empty.database.transaction() as connection:
                groups.add_branch(connection, group, line.branch)
    ticks = "/compare?pick=wide/main&group=wide/fan&group=wide/sweep"
    page = empty.get(empty.client.get(ticks).headers["Location"])
    changed = page.table("Changes since the fork")
    assert [row["branch"] for row in changed] == ["fan", "fan", "sweep", "sweep"]
    drawn = {line["name"]: line["colour"] for line in data_of(empty, page)["lines"]}
    assert len({drawn[name] for name in ("main", "fan", "sweep")}) == 3
    # Groups have what their branches share.
    assert "The same, as far as they were recorded." in page.one("main").text
    assert "One was ticked" in empty.get("/compare?pick=wide/main", 422).text


def test_lines_without_the_counter_are_named_on_both_pages(own: Site) -> None:
    main = own.lines["main"]
    node = main.commit("checkpoint", 40)
    main.log("loss", range(41, 46), [1.0] * 5)
    main.log("num_tokens", range(35, 46), [512.0 * step for step in range(35, 46)])
    low = main.grower.fork(node, "low", lr=1e-4)
    low.log("loss", range(41, 46), [1.0] * 5)
    low.log("num_tokens", [41, 42], [math.nan] * 2)
    query = "/compare?a=digits/low&b=digits/main&x=num_tokens"
    for address in (query, f"{query}&with=digits@40"):
        page = own.get(address)
        drawn = data_of(own, page)
        assert [line["name"] for line in drawn["lines"]][:2] == ["shared", "main"]
        assert "Not drawn, without num_tokens: low" in drawn["note"]
        assert min(x for line in drawn["lines"] for x in line["xs"]) == 512 * 35
        assert drawn["fork"] == 512 * 40
