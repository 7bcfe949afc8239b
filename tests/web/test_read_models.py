"""One reading of runs: page, API and shell show the same list, tree and difference."""

from __future__ import annotations

import json
import re
from typing import Any

from click.testing import CliRunner

from branchtrack.cli.main import cli
from branchtrack.core import formats
from tests.web import dom
from tests.web.conftest import Site

RUN, A, B = "gpt2-docs", "gpt2-docs/main", "gpt2-docs/cooler"


def in_shell(site: Site, *words: str) -> Any:
    result = CliRunner().invoke(cli, ["--home", str(site.config.home), *words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def by_api(site: Site, path: str) -> Any:
    answer = site.client.get(f"/api/v1/{path}")
    assert answer.status_code == 200
    return answer.json


def test_the_list_of_runs_is_the_same(site: Site) -> None:
    listed = {run["name"]: run for run in in_shell(site, "runs")}
    assert {run["name"]: run for run in by_api(site, "runs")["runs"]} == listed
    rows = site.get("/").one("table").one("tbody").all("tr")
    assert rows and len(rows) == len(listed)
    for row in rows:
        run = listed[row.one("a").text]
        cells = [cell.text for cell in row.all("td")]
        assert cells[2] == formats.state_words(run["status"])
        assert cells[9:11] == [formats.steps(run["branches"]), formats.steps(run["nodes"])]


def test_a_tree_is_the_same(site: Site) -> None:
    tree = in_shell(site, "tree", RUN)
    assert by_api(site, f"runs/{RUN}/tree") == tree
    page = site.get(f"/runs/{RUN}")
    names = [lane["id"].removeprefix("branch-") for lane in branch_lanes(page)]
    assert sorted(names) == sorted(branch["name"] for branch in tree["branches"])
    links = (re.search("/nodes/([0-9a-f]+)$", link["href"]) for link in page.all("a"))
    linked = {match.group(1) for match in links if match}
    heads = {branch["head"] for branch in tree["branches"] if branch["head"]}
    assert linked <= {node["id"] for node in tree["nodes"]} and linked & heads


def branch_lanes(page: dom.Element) -> list[dom.Element]:
    return [item for item in page.all("li") if item.get("id").startswith("branch-")]


def test_a_difference_is_the_same(site: Site) -> None:
    difference = in_shell(site, "diff", A, B)
    answered = by_api(site, f"compare?a={A}&b={B}")
    assert {key: answered[key] for key in difference} == difference
    page = site.get(f"/compare?a={A}&b={B}")
    settings = page.table("Settings that differ")
    assert [row["setting"] for row in settings] == [row["name"] for row in difference["settings"]]
    changed = [node for side in ("a", "b") for node in difference[side]["changes"]]
    rows = page.table("Changes since the fork")
    assert len(rows) == len(changed)
    steps = sorted(node["step"] for node in changed)
    assert [row["step"] for row in rows] == [formats.steps(step) for step in steps]


def test_a_difference_of_nodes_is_the_same(site: Site) -> None:
    a, b = site.node("main"), site.node("cooler")
    difference = in_shell(site, "diff", a, b)
    page = site.get(f"/compare/nodes?a={a}&b={b}")
    metrics = page.table("Metrics at both")
    assert [row["metric"] for row in metrics] == [row["name"] for row in difference["metrics"]]
    changed = [node for side in ("a", "b") for node in difference[side]["changes"]]
    assert len(page.table("Changes")) == len(changed)
