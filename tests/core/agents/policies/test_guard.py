"""The divergence guard."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.core.agents.decisions import Fork, Rollback, Set
from branchtrack.core.agents.policies.guard import Guard, find_divergence, find_stuck
from branchtrack.errors import InvalidInput
from tests.core.agents.seen import curve, nodes, view

FALLING = [3.0 - step / 20 for step in range(30)]
SPIKE = [*FALLING, 6.0, 8.0, 9.0, 9.0, 9.0]
NAN = [*FALLING, math.nan]


def decide(loss: list[float], memory: dict[str, Any], *, at: Any = (), **facts: Any) -> Any:
    options = facts.pop("options", {})
    seen = view(loss, nodes=at or nodes(0, 10, 20, 30, 33), **facts)
    return Guard.of(options).decide(seen, memory)


@pytest.mark.parametrize("loss", [SPIKE, NAN])
def test_a_divergence_leads_to_the_last_healthy_node_with_half_the_rate(loss: list[float]) -> None:
    memory: dict[str, Any] = {}
    (decision,) = decide(loss, memory)
    assert isinstance(decision, Rollback)
    assert (decision.node, decision.values) == ("node-30", {"lr": 0.05})
    assert "step 30" in decision.reason and "1 of 8" in decision.reason
    assert memory["rollbacks"] == 1


def test_several_rates_are_tried_if_they_are_given() -> None:
    memory: dict[str, Any] = {}
    options = {"tries": "0.5,0.1", "updates": "5"}
    (first,) = decide(SPIKE, memory, options=options)
    assert (first.node, first.values) == ("node-30", {"lr": 0.05})
    line = nodes(0, 10, 20, 30, 35)
    tried = [*FALLING, *[2.0] * 5]
    (second,) = decide(tried, memory, at=line, options=options, settings={"lr": 0.05})
    assert (second.node, second.values) == ("node-30", {"lr": 0.01})
    assert decide(tried, memory, at=line, options=options, settings={"lr": 0.01})[0].node
    assert memory["rollbacks"] == 1


def test_of_a_training_that_has_ended_no_rates_are_tried() -> None:
    (decision,) = decide(NAN, {}, status="failed", options={"tries": "0.1"})
    assert decision == Fork(node="node-30", settings={"lr": 0.05}, reason=decision.reason)


@pytest.mark.parametrize("tries", ["1.5", "0", "a", "0.5,"])
def test_a_factor_that_is_none_is_refused(tries: str) -> None:
    with pytest.raises(InvalidInput, match="tries"):
        Guard.of({"tries": tries})


def test_a_training_that_has_ended_is_forked() -> None:
    (decision,) = decide(NAN, {}, status="failed")
    assert decision == Fork(node="node-30", settings={"lr": 0.05}, reason=decision.reason)


def test_a_node_with_a_loss_that_is_not_finite_is_not_healthy() -> None:
    line = [*nodes(0, 10), *nodes(20, 30, loss=math.nan)]
    (decision,) = decide(NAN, {}, at=line)
    assert decision.node == "node-10"


def test_the_number_of_rollbacks_is_limited() -> None:
    memory: dict[str, Any] = {"rollbacks": 2}
    assert decide(NAN, memory, options={"limit": 2}) == []


def test_without_a_node_or_a_rate_nothing_is_decided() -> None:
    assert decide(NAN, {}, at=nodes(31, 40)) == []
    assert decide(NAN, {}, declared={}) == []
    assert decide(NAN, {}, status="waiting") == []


def test_noise_is_no_divergence() -> None:
    noisy = [2.0 + (0.3 if step % 2 else 0.0) for step in range(60)]
    assert find_divergence(curve(noisy), Guard.of({}).options) is None
    once = [*FALLING, 9.0, *FALLING[-3:]]
    assert find_divergence(curve(once), Guard.of({}).options) is None


def test_infinity_is_a_divergence_at_its_step() -> None:
    divergence = find_divergence(curve([1.0, math.inf]), Guard.of({}).options)
    assert divergence is not None and divergence.step == 2 and "infinite" in divergence.what


def test_stuck_is_off_unless_it_is_asked_for() -> None:
    flat = [2.0] * 60
    assert find_stuck(curve(flat), Guard.of({}).options) is None
    assert find_stuck(curve(flat), Guard.of({"stuck": 20}).options) is not None
    falling = [2.0 / (1 + step) for step in range(60)]
    assert find_stuck(curve(falling), Guard.of({"stuck": 20}).options) is None


def test_a_training_that_never_takes_off_starts_again_from_its_first_node() -> None:
    memory: dict[str, Any] = {}
    (decision,) = decide([2.0] * 40, memory, options={"stuck": 20})
    assert isinstance(decision, Rollback) and decision.node == "node-0"
    assert decide([2.0] * 40, {}, options={"stuck": 20}, status="finished") == []


def test_a_training_that_has_learned_and_slows_down_only_gets_a_lower_rate() -> None:
    loss = [4.0, 3.0, 2.0, *[1.0] * 40]
    (decision,) = decide(loss, {}, options={"stuck": 20})
    assert isinstance(decision, Set) and decision.values == {"lr": 0.05}


@pytest.mark.parametrize(("to", "node"), [("healthy", "node-30"), ("first", "node-0")])
def test_where_it_goes_back_to_can_be_chosen(to: str, node: str) -> None:
    (decision,) = decide(SPIKE, {}, options={"to": to})
    assert (decision.node, decision.values) == (node, {"lr": 0.05})


@pytest.mark.parametrize(("to", "node"), [("healthy", "node-20"), ("first", "node-0")])
def test_a_training_that_is_stuck_goes_back_as_well(to: str, node: str) -> None:
    loss = [4.0, 3.0, 2.0, *[1.0] * 40]
    (decision,) = decide(loss, {}, options={"stuck": 20, "to": to})
    assert isinstance(decision, Rollback) and decision.node == node


def test_another_word_for_where_to_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'auto', 'healthy' or 'first'"):
        Guard.of({"to": "root"})
