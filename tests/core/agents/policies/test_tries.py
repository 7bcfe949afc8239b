"""Rates that are tried one after the other from a node, of which the best goes on."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from branchtrack.core.agents.decisions import Decision, Rollback
from branchtrack.core.agents.policies import tries
from branchtrack.core.agents.views import SeenNode
from tests.core.agents.seen import curve, nodes, view

START = SeenNode("node-10", 10, "checkpoint", {"loss": 2.0}, {})


class Training:
    """A training that is taken back to step 10, and has a loss by its rate after that."""

    def __init__(self, losses: dict[float, float], *, ends: bool = False) -> None:
        self._losses, self._ends = losses, ends
        self.memory: dict[str, Any] = {}
        self.decisions: list[Decision] = tries.begin(self.memory, START, list(losses), "loss rose.")

    def train(self, steps: int) -> list[Decision]:
        """So many updates with the rate of the last decision; what is decided after them."""
        # It is stored between two looks.
        self.memory = json.loads(json.dumps(self.memory))
        last = self.decisions[-1]
        assert isinstance(last, Rollback)
        rate = last.values["lr"]
        losses = [2.0] * 10 + [self._losses[rate]] * steps
        line = [*nodes(0, 10), SeenNode(f"end-{rate:g}", 10 + steps, "checkpoint", {}, {})]
        seen = view(losses, nodes=line, settings={"lr": rate}, curves={"loss": curve(losses)})
        if self._ends:
            seen = view(losses, nodes=line, settings={"lr": rate}, status="finished")
        self.decisions += (more := tries.go_on(self.memory, seen, "loss", 20))
        return more


def test_the_first_rate_is_tried_from_the_node() -> None:
    training = Training({0.05: 1.9, 0.02: 1.5})
    (first,) = training.decisions
    assert isinstance(first, Rollback)
    assert (first.node, first.values) == ("node-10", {"lr": 0.05})
    assert first.reason == "loss rose. lr 0.05 is tried from the node of step 10."
    assert tries.are_going_on(training.memory)


def test_a_try_has_all_its_updates() -> None:
    training = Training({0.05: 1.9, 0.02: 1.5})
    assert training.train(19) == []
    (second,) = training.train(20)
    assert isinstance(second, Rollback)
    assert (second.node, second.values) == ("node-10", {"lr": 0.02})
    assert "loss 1.9 after 20 updates with lr 0.05" in second.reason


def test_the_end_of_the_best_try_goes_on() -> None:
    training = Training({0.05: 1.5, 0.02: 1.9, 0.01: 1.95})
    for _ in range(2):
        training.train(20)
    (last,) = training.train(20)
    assert isinstance(last, Rollback)
    assert (last.node, last.values) == ("end-0.05", {})
    assert "0.05: 1.5, 0.02: 1.9, 0.01: 1.95" in last.reason
    assert not tries.are_going_on(training.memory) and training.memory["since"] == 10


def test_the_last_try_goes_on_by_itself_if_it_is_the_best() -> None:
    training = Training({0.05: 1.9, 0.02: 1.5})
    training.train(20)
    assert training.train(20) == [] and not tries.are_going_on(training.memory)


def test_a_try_that_diverges_is_over_at_once_and_never_the_best() -> None:
    training = Training({0.05: math.nan, 0.02: 1.9})
    (second,) = training.train(3)
    assert isinstance(second, Rollback) and second.values == {"lr": 0.02}
    assert "not finite" in second.reason
    assert training.train(20) == []


def test_if_all_diverge_a_lower_rate_is_taken() -> None:
    training = Training({0.05: math.nan, 0.02: math.inf})
    training.train(3)
    (last,) = training.train(3)
    assert isinstance(last, Rollback)
    assert (last.node, last.values) == ("node-10", {"lr": 0.01})


def test_a_training_that_ended_in_a_try_is_left_alone() -> None:
    training = Training({0.05: 1.9, 0.02: 1.5}, ends=True)
    assert training.train(20) == [] and not tries.are_going_on(training.memory)


@pytest.mark.parametrize("points", [0, 5])
def test_without_a_node_at_its_end_a_try_goes_on(points: int) -> None:
    memory: dict[str, Any] = {}
    tries.begin(memory, START, [0.05], "loss rose.")
    seen = view([2.0] * 10 + [1.0] * points, nodes=nodes(0, 10), settings={"lr": 0.05})
    assert tries.go_on(memory, seen, "loss", 3) == [] and tries.are_going_on(memory)
