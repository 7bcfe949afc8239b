"""Runs, their branches, nodes and metrics."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.trees_for_tests import make_tree
from tests.web.api.test_curves import ask
from tests.web.conftest import Site


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


def test_a_run_and_its_branches_are_those_of_its_tree(site: Site) -> None:
    tree = ask(site, "runs/gpt2-docs/tree")
    run = ask(site, "runs/gpt2-docs")
    assert {key: run[key] for key in tree["run"]} == tree["run"]
    assert (run["branches"], run["nodes"]) == (len(tree["branches"]), len(tree["nodes"]))
    branches = ask(site, "runs/gpt2-docs/branches")["branches"]
    assert [one["name"] for one in branches] == [one["name"] for one in tree["branches"]]
    certified = [one["certificate"] for one in branches if one["certificate"]]
    assert certified == [one["certificate"] for one in tree["branches"] if one["certificate"]]


def test_nodes_come_page_by_page_in_the_order_of_their_commits(site: Site) -> None:
    whole, listed, after = ask(site, "runs/gpt2-docs/tree")["nodes"], [], 0
    while after is not None:
        page = ask(site, f"runs/gpt2-docs/nodes?limit=5&after={after}")
        assert page["total"] == len(whole) and len(page["nodes"]) <= 5
        listed += page["nodes"]
        after = page["next"]
    numbers = [node.pop("seq") for node in listed]
    assert listed == whole and numbers == sorted(numbers)


def test_nodes_of_a_branch_or_a_kind_are_counted_by_themselves(site: Site) -> None:
    page = ask(site, "runs/gpt2-docs/nodes?branch=cooler")
    assert {node["branch"] for node in page["nodes"]} == {"cooler"}
    assert page["total"] == len(page["nodes"]) < 14
    page = ask(site, "runs/gpt2-docs/nodes?kind=root")
    assert [node["kind"] for node in page["nodes"]] == ["root"]
    assert site.client.get("/api/v1/runs/gpt2-docs/nodes?branch=nope").status_code == 404


def test_metrics_have_their_newest_values_along_the_whole_line(site: Site) -> None:
    for branch in site.lines:
        for metric in ask(site, f"runs/gpt2-docs/metrics?branch={branch}")["metrics"]:
            curve = ask(site, f"curve?branch=gpt2-docs/{branch}&metric={metric['name']}")
            assert (metric["step"], metric["value"]) == (curve["steps"][-1], curve["values"][-1])
    assert ask(site, "runs/gpt2-docs/metrics")["branch"] == "main"


def test_metrics_of_a_fork_end_where_it_began(own: Site) -> None:
    tree = make_tree(own.database, own.store, "long")
    root = tree.node("main", 0)
    tree.points("main", "loss", range(1, 3001))
    middle = tree.node("main", 1500, root)
    tree.branch("other", middle)
    tree.node("other", 1500, middle, kind="fork")
    (metric,) = ask(own, "runs/long/metrics?branch=other")["metrics"]
    curve = ask(own, "curve?branch=long/other")
    assert metric["step"] == curve["steps"][-1] == 1500
    assert metric["value"] == curve["values"][-1]
