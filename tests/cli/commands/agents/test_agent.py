"""The command `agent`."""

from __future__ import annotations

import json

import pytest

from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("branchtrack.agents.runner.GRACE_SECONDS", 0.0)
    monkeypatch.setattr("branchtrack.agents.runner.LOOK_SECONDS", 0.01)


def test_it_works_until_the_training_has_ended(call: Call, forked: Forked) -> None:
    forked[0].end("main")
    called = call("agent", "demo", "--policy", "plateau", "--option", "factor=0.3")
    assert called.code == 0 and "plateau watches demo" in called.out
    assert "ended: demo/main is finished." in called.out
    (agent,) = call("agents", "--json").json
    assert (agent["name"], agent["mode"], agent["state"]) == ("plateau", "propose", "ended")
    assert agent["options"]["factor"] == 0.3 and agent["options"]["patience"] == 5


def test_json_is_the_agent_and_notes_go_to_standard_error(call: Call, forked: Forked) -> None:
    arguments = ("--policy", "plateau", "--name", "p", "--budget", "interventions=0", "--json")
    called = call("agent", "demo/cooler", *arguments)
    assert called.json["state"] == "exhausted" and called.json["branch"] == "cooler"
    assert json.loads(called.err.splitlines()[-1])["note"].startswith("exhausted")


def test_a_metric_that_the_run_has_not_logged_is_a_warning_on_standard_error(
    call: Call, forked: Forked
) -> None:
    forked[0].end("main")
    arguments = ("agent", "demo", "--policy", "plateau", "--option")
    called = call(*arguments, "metric=nope")
    assert called.code == 0 and "no metric" not in called.out
    assert called.err == "Warning: demo has logged no metric 'nope' yet. It has loss.\n"
    as_json = call(*arguments, "metric=nope", "--json")
    assert as_json.json["state"] == "ended"
    assert "no metric 'nope'" in json.loads(as_json.err.splitlines()[0])["note"]
    assert "no metric" not in call(*arguments, "metric=loss").err


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--policy", "oracle"),
        ("demo", "--policy", "guard", "--mode", "obey"),
        ("demo", "--policy", "guard", "--option", "factor=7"),
        ("demo", "--policy", "guard", "--option", "speed=1"),
        ("demo", "--policy", "guard", "--budget", "branches=-1"),
        ("demo", "--policy", "guard", "--budget", "luck=1"),
        ("demo", "--policy", "guard", "--budget", f"interventions={'9' * 23}"),
        ("demo", "--policy", "guard", "--base-url", "http://x/v1"),
        ("demo", "--policy", "llm", "--model", "small"),
        ("demo", "--policy", "llm", "--model", "small", "--base-url", "http://me:pw@x/v1"),
        ("demo", "--policy", "llm", "--model", "small", "--base-url", "http://h:99999/v1"),
        ("demo", "--policy", "llm", "--model", "small", "--base-url", "http://[::1"),
        ("nobody", "--policy", "guard"),
    ],
)
def test_what_it_cannot_be_told_is_refused(
    call: Call, forked: Forked, arguments: tuple[str, ...]
) -> None:
    called = call("agent", *arguments)
    assert called.code == 2 and "pw@" not in called.err
    assert call("agents", "--json").json == []
