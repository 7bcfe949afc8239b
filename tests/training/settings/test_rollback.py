"""What settings have changed is restored bit for bit, in the objects themselves."""

from __future__ import annotations

from collections.abc import Callable

import torch

from branchtrack.training.settings import registry, schedule_hold
from branchtrack.training.settings.author import Values
from branchtrack.training.settings.live import Live
from branchtrack.training.settings.rollback import keep_state
from tests.training.settings.two_groups import SCHEDULES, rates, run, two_groups


def keep(live: Live) -> Callable[[], None]:
    return keep_state(live, registry.current(live))


def test_groups_lose_what_was_added_and_get_back_what_was_changed() -> None:
    live = two_groups()
    group = live.groups[0]
    put_back = keep(live)
    group.update(lr=9.0, betas=(0.1, 0.2), added=1)
    put_back()
    assert live.groups[0] is group and "added" not in group
    assert (group["lr"], group["betas"]) == (0.1, (0.9, 0.999))


def test_rates_that_are_tensors_are_restored_in_place() -> None:
    live = two_groups(capturable=False, foreach=False)
    live.groups[0]["lr"] = rate = torch.tensor(0.1)
    put_back = keep(live)
    rate.fill_(9.0)
    put_back()
    assert live.groups[0]["lr"] is rate and rate.item() == torch.tensor(0.1).item()


def test_a_schedule_goes_on_as_if_nothing_was_changed() -> None:
    live, untouched = two_groups(SCHEDULES["sequential"]), two_groups(SCHEDULES["sequential"])
    run(live, 3)
    run(untouched, 3)
    put_back = keep(live)
    schedule_hold.write(live, True)
    registry.of(live)["lr"].write(0.7)
    put_back()
    assert rates(live) == rates(untouched)
    assert run(live, 6) == run(untouched, 6)


def test_a_frozen_parameter_trains_again_with_its_gradient() -> None:
    live = two_groups()
    for parameter in live.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    put_back = keep(live)
    registry.of(live)["frozen"].write("0")
    assert next(live.model.parameters()).grad is None
    put_back()
    parameters = list(live.model.parameters())
    assert all(parameter.requires_grad for parameter in parameters)
    assert all(parameter.grad is not None for parameter in parameters)


def test_dropout_clipping_and_the_authors_values_are_restored() -> None:
    live = two_groups()
    live.model.append(torch.nn.Dropout(0.5))
    live.values = Values({"alpha": 0.5})
    put_back = keep(live)
    for name in ("dropout", "max_grad_norm", "alpha"):
        registry.of(live)[name].write(0.25)
    put_back()
    settings = {name: registry.of(live)[name].read() for name in ("dropout", "alpha")}
    assert settings == {"dropout": 0.5, "alpha": 0.5}
    assert live.options.max_grad_norm == 1.0
