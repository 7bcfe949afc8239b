"""Population-based training: the worst is replaced by a changed copy of the best."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.core.agents.decisions import Act, Fork
from branchtrack.core.agents.policies.population import Population
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput
from tests.core.agents.seen import SETTINGS, branch, view


def members(**losses: float) -> Any:
    all_members = [branch(name, metrics={"loss": loss}) for name, loss in losses.items()]
    return view(own=all_members[0], siblings=all_members[1:], step=100)


def test_the_worst_is_stopped_after_the_best_is_forked() -> None:
    policy, memory = Population.of({}), {"from": 0}
    fork, stop = policy.decide(members(main=2.0, a=1.0, b=3.0, c=2.5), memory)
    assert isinstance(fork, Fork) and fork.node == "head-of-a"
    assert fork.settings["lr"] in (0.08, 0.125)
    assert isinstance(stop, Act) and (stop.action, stop.branch) == ("stop", "b")
    assert memory["generation"] == 1
    assert policy.decide(members(main=2.0, a=1.0, c=2.5), memory) == []


def test_members_are_compared_once_all_have_come_far_enough() -> None:
    policy = Population.of({"interval": 50})
    assert policy.decide(members(main=2.0, a=1.0), {"from": 51}) == []
    assert policy.decide(members(main=2.0, a=1.0), {"from": 50})
    assert policy.decide(members(main=2.0), {"from": 0}) == []


def test_a_member_without_a_finite_loss_is_the_worst() -> None:
    _, stop = Population.of({}).decide(members(main=math.nan, a=9.0), {"from": 0})
    assert stop.branch == "main"


def test_equals_are_left_alone() -> None:
    assert Population.of({}).decide(members(main=1.0, a=1.0), {"from": 0}) == []


def test_the_same_seed_draws_the_same_factors() -> None:
    first, second = (
        Population.of({"seed": 3}).decide(members(main=2.0, a=1.0), {"from": 0}) for _ in range(2)
    )
    assert first == second


def test_copies_stay_within_the_bounds_of_their_settings() -> None:
    declared = {"lr": Setting("lr", maximum=0.1), "n": Setting("n", "int", minimum=1)}
    best = branch("a", metrics={"loss": 1.0}, settings={**SETTINGS, "n": 4})
    seen = view(own=branch("main", metrics={"loss": 2.0}), siblings=[best], declared=declared)
    policy = Population.of({"settings": "lr, n, unknown", "factors": "1.3"})
    fork, _ = policy.decide(seen, {"from": 0})
    assert isinstance(fork, Fork) and fork.settings == {"n": 5}


def test_factors_are_read_from_text() -> None:
    assert Population.of({"factors": "0.5,2"}).options.factors == (0.5, 2.0)


@pytest.mark.parametrize("factors", [(), "", "0.5,no", [0], [-1.0]])
def test_what_is_no_factor_is_refused(factors: object) -> None:
    with pytest.raises(InvalidInput, match="factors"):
        Population.of({"factors": factors})
