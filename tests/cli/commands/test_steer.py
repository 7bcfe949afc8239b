"""Commands that ask a live run, and tell what it answered."""

from __future__ import annotations

from dataclasses import fields
from threading import Thread
from typing import Any

import click
import pytest

from branchtrack import control
from branchtrack.cli.main import cli
from branchtrack.cli.request_options import RequestOptions
from branchtrack.core.interventions import INTERVENTIONS
from branchtrack.core.records import Node
from branchtrack.db import requests
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def answer(tree: Tree, *moves: tuple[str, dict[str, Any]]) -> Thread:
    """A thread that stands for the training process: it answers the next request."""

    def work() -> None:
        segment = tree.segment("main").id
        waiting = control.poll(tree.database, segment)
        while not waiting:
            waiting = control.poll(tree.database, segment)
        with tree.database.transaction() as connection:
            for state, facts in moves:
                requests.move(connection, waiting[0].id, state, actor="run", **facts)

    thread = Thread(target=work)
    thread.start()
    return thread


def test_a_verified_change_is_told_with_what_was_read_back(call: Call, forked: Forked) -> None:
    applied = {"before": {"lr": 0.01}, "applied": {"lr": 0.001}, "step": 31}
    effect = {"effective": {"step": 32, "lr": 0.001, "lr_now": 0.0009, "verified": True}}
    thread = answer(forked[0], ("applied", applied), ("verified", effect))
    found = call("set", "demo", "lr=1e-3", "--reason", "spikes", "--json")
    thread.join()
    assert found.code == 0
    assert found.json["state"] == "verified"
    assert found.json["requested"] == {"lr": 0.001}
    assert (found.json["before"], found.json["applied"]) == ({"lr": 0.01}, {"lr": 0.001})
    assert (found.json["step"], found.json["reason"]) == (31, "spikes")


def test_a_change_without_effect_exits_with_1(call: Call, forked: Forked) -> None:
    thread = answer(forked[0], ("applied", {}), ("ineffective", {"effective": {"lr": 0.01}}))
    found = call("set", "demo", "lr=1e-3")
    thread.join()
    assert found.code == 1 and "ineffective" in found.out


def test_an_evaluation_prints_its_metrics(call: Call, forked: Forked) -> None:
    result = {"result": {"metrics": {"eval_loss": 1.25}}}
    thread = answer(forked[0], ("applied", {}), ("done", result))
    found = call("evaluate", "demo")
    thread.join()
    assert found.code == 0 and "1.25" in found.out


def test_a_request_can_be_left_to_itself(call: Call, forked: Forked) -> None:
    found = call("stop", "demo", "--no-wait", "--json")
    assert (found.code, found.json["state"]) == (0, "accepted")


def test_a_late_answer_is_told_as_such(call: Call, forked: Forked) -> None:
    found = call("checkpoint", "demo", "--timeout", "0.1")
    assert found.code == 1 and "still be carried out" in found.err


def test_a_run_that_has_ended_takes_no_request(call: Call, forked: Forked) -> None:
    forked[0].end("main")
    found = call("stop", "demo")
    assert found.code == 1 and "demo/cooler" in found.err


@pytest.mark.parametrize("kind", INTERVENTIONS)
def test_every_kind_has_a_command_with_the_options_of_its_model(kind: str) -> None:
    assert isinstance(cli, click.Group)
    command = cli.get_command(click.Context(cli), kind)
    assert command is not None and command.name == kind
    shared = {option.name for option in fields(RequestOptions)} - {"wait"}
    names = {str(parameter.name) for parameter in command.params}
    assert names >= shared
    assert names - shared - {"run"} == set(INTERVENTIONS[kind].options())
