"""The reading tools: small answers that say when they are cut."""

from __future__ import annotations

import json

from tests.agents.tools.conftest import Ask
from tests.control.trials import samples
from tests.web.conftest import Site


def test_an_overview_leads_from_all_runs_to_the_branches_of_one(ask: Ask) -> None:
    everything = ask("overview")
    assert [run["name"] for run in everything["runs"]] == ["digits"]
    assert everything["you"]["role"] == "agent"
    one = ask("overview", run="digits")
    (branch,) = one["branches"]
    assert branch["name"] == "main" and "loss" in branch["last"]


def test_a_tree_a_node_and_a_curve_are_small(ask: Ask, own: Site) -> None:
    tree = ask("tree", run="digits")
    node = own.node("main")
    assert any(row["id"] == node for row in ask("tree", run="digits", detail=True)["nodes"])
    assert tree["nodes"][-1]["kind"] == "root"
    shown = ask("node", node=node)
    assert shown["settings"]["lr"] == 5e-3 and "environment" not in shown
    assert "environment" in ask("node", node=node, detail=True)
    curve = ask("curve", branch="digits", points=6)
    assert 4 <= len(curve["points"]) <= 6 < curve["of"]
    assert ask("curve", branch="digits", since=curve["cursor"])["points"] == []
    assert len(json.dumps([tree, shown, curve])) < 12_000


def test_what_is_not_there_is_said_in_our_sentences(ask: Ask) -> None:
    answer = ask("node", node="digits@999999")
    assert isinstance(answer, str) and "digits" in answer and "Traceback" not in answer
    assert ask("alerts", run="digits")["alerts"] == []
    compared = ask("compare", a="digits/main", b="digits/main")
    assert compared["settings"] == [] and compared["curve_a"] == compared["curve_b"]


def test_the_verdicts_of_a_run_and_of_a_trial_are_shown(ask: Ask, own: Site) -> None:
    node = samples.seeded(own.lines["main"]).id
    order = {"settings": {"lr": "x0.5"}, "reason": "flat", "steps": 10, "repeats": 3}
    made = ask("trial", node=node, **order)
    shown = ask("verdict", trial=made["id"])
    assert shown["state"] == "running" and "pairs" not in shown
    assert shown["verdicts"] == ["lr=x0.5: pending; a verdict needs 3 pairs or more"]
    assert ask("verdict", trial=made["id"], detail=True)["pairs"] == [[None, None]] * 3
    of_run = ask("verdict", run="digits")
    assert [trial["id"] for trial in of_run["trials"]] == [made["id"]]
    (change,) = of_run["interventions"]
    assert change["step"] == 50 and of_run["counts"]["untried"] == 1
    assert "either a trial or a run" in ask("verdict")
