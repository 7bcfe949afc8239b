"""The data API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.trees_for_tests import make_tree
from tests.web.conftest import Site


def ask(site: Site, path: str) -> Any:
    answer = site.client.get("/api/v1/" + path)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.json


def test_runs_have_the_promised_keys(site: Site) -> None:
    page = ask(site, "runs")
    keys = {"id", "name", "status", "branches", "nodes", "created_at", "updated_at"}
    assert [run["name"] for run in page["runs"]] == ["gpt2-docs"]
    assert page["runs"][0].keys() >= keys
    assert (page["total"], page["next"]) == (1, None)


def test_runs_come_page_by_page(own: Site) -> None:
    for name in "ab":
        make_tree(own.database, own.store, name)
    names, path = [], "runs?limit=1"
    while path:
        page = ask(own, path)
        names += [run["name"] for run in page["runs"]]
        path = page["next"] and f"runs?limit=1&after={quote(page['next'])}"
    assert names[:2] == ["b", "a"] and len(names) == page["total"] == 3


@pytest.mark.parametrize("query", ["after=x", "after=nan~abcd", "after=1~../x", "limit=9999"])
def test_a_page_that_there_is_not_is_refused(site: Site, query: str) -> None:
    answer = site.client.get(f"/api/v1/runs?{query}")
    assert answer.status_code == 422 and answer.json["error"]["field"] in ("after", "limit")


def test_a_tree_has_the_promised_keys(site: Site) -> None:
    found = ask(site, "runs/gpt2-docs/tree")
    assert {one["name"] for one in found["branches"]} == set(site.lines)
    assert len(found["nodes"]) == 14
    assert found["nodes"][0].keys() >= {"id", "branch", "parent", "step", "kind", "changes"}


def test_a_node_has_the_promised_keys(site: Site) -> None:
    node = site.node("cooler")
    found = ask(site, f"nodes/{node[:8]}")
    assert found["id"] == node
    assert found.keys() >= {"settings", "effective", "restored", "environment", "checkpoint"}


def test_a_curve_is_raw_unless_points_are_asked_for(site: Site) -> None:
    whole = ask(site, "curve?branch=gpt2-docs/cooler&metric=loss")
    assert whole["steps"] == list(range(1, 2001))
    thin = ask(site, "curve?branch=gpt2-docs/cooler&metric=loss&points=100")
    assert 90 <= len(thin["steps"]) <= 102
    assert min(thin["values"]) == min(whole["values"])


def test_a_curve_is_cut_before_it_is_thinned(site: Site) -> None:
    part = ask(site, "curve?branch=gpt2-docs/cooler&metric=loss&from=100&to=149")
    assert part["steps"] == list(range(100, 150))
    assert part["points"] == 50
    thin = ask(site, "curve?branch=gpt2-docs/cooler&metric=loss&from=100&to=149&points=10")
    assert thin["steps"][0] == 100 and thin["steps"][-1] == 149
    assert max(thin["values"]) == max(part["values"])


def test_values_that_json_has_no_numbers_for_are_told_by_name(site: Site) -> None:
    found = ask(site, "curve?branch=gpt2-docs/hot&metric=loss&from=640&to=652")
    assert found["values"][1:12] == ["NaN"] * 11
    assert found["gaps"] == list(range(641, 652))


def test_a_comparison_holds_the_difference_and_both_curves(site: Site) -> None:
    found = ask(site, "compare?a=gpt2-docs/main&b=gpt2-docs/cooler&points=50")
    assert {one["name"] for one in found["settings"]} == {"lr", "max_grad_norm"}
    assert found["curves"]["b"]["branch"] == "cooler"
    assert found["common_ancestor"]


def test_curves_of_a_comparison_are_thinned_unless_all_points_are_asked_for(own: Site) -> None:
    tree = make_tree(own.database, own.store, "long")
    root = tree.node("main", 0)
    tree.branch("other", root)
    tree.node("other", 0, root, kind="fork")
    for name in ("main", "other"):
        tree.points(name, "loss", range(1, 3001))
    path = "compare?a=long/main&b=long/other"
    thin, whole = (ask(own, path + more)["curves"]["a"] for more in ("", "&points=all"))
    assert len(thin["steps"]) <= 1000 and len(whole["steps"]) == 3000
    assert thin["points"] == whole["points"] == 3000


@pytest.mark.parametrize(
    "query", ["points=3", "points=x", "points=1000000000", "from=9&to=3", "from=-1"]
)
def test_numbers_that_make_no_sense_are_refused(site: Site, query: str) -> None:
    answer = site.client.get(f"/api/v1/curve?branch=gpt2-docs/main&{query}")
    assert answer.status_code == 422


def test_a_metric_that_there_is_not_is_refused(site: Site) -> None:
    answer = site.client.get("/api/v1/curve?branch=gpt2-docs/main&metric=nope")
    assert answer.status_code == 404
