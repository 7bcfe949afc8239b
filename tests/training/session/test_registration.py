"""A segment is taken with what can be requested of its training."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from branchtrack.training.session.registration import facts_of
from branchtrack.training.settings.live import Live


def live() -> Live:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return Live(model, optimizer, None, SimpleNamespace(max_grad_norm=1.0), [True])


def test_what_can_be_requested_is_what_the_objects_have() -> None:
    def shake(amount: float) -> None:
        del amount

    facts = facts_of(live(), {"shake": shake}, evaluates=False)
    declared = {setting["name"] for setting in facts["declared"]}
    assert {"lr", "weight_decay", "dropout"} <= declared and "seed" not in declared
    offers = facts["offers"]
    assert [action["name"] for action in offers["actions"]] == ["shake"]
    assert not offers["evaluates"]


def test_what_only_a_resume_can_change_is_declared_where_the_loop_has_it() -> None:
    objects = live()
    objects.fixed = {"seed": 1}
    facts = facts_of(objects, {}, evaluates=True)
    assert "seed" in {setting["name"] for setting in facts["declared"]}
