"""Fields of optimizers are found by inspection, and their own constructors have the last word."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import optim

from branchtrack.errors import InvalidInput
from branchtrack.training.settings import apply, optimizer_fields
from branchtrack.training.settings.live import Live


class Novel(optim.Optimizer):
    """One that nobody knows: a share, a count, a list, a switch and what it makes its state of."""

    def __init__(
        self,
        params: Any,
        lr: float,
        share=0.5,
        every: int = 2,
        taps=(1.0, 2.0),
        flip=False,
        warmup_steps=3,
    ) -> None:
        if share > 0.9:
            raise ValueError("share too large")
        given = {"lr": lr, "share": share, "every": every, "taps": taps, "flip": flip, "seen": 0}
        super().__init__(params, {**given, "warmup_steps": warmup_steps})

    def step(self, closure: Any = None) -> None:
        """Nothing is moved here."""


def live_of(make: Any) -> Live:
    model = torch.nn.Linear(3, 3, bias=False)
    optimizer = make(model.parameters())
    return Live(model, optimizer, None, None, [True] * len(optimizer.param_groups))


FIELDS: dict[str, tuple[Any, set[str]]] = {
    "SGD": (lambda p: optim.SGD(p, 0.1), {"dampening", "nesterov"}),
    "RMSprop": (lambda p: optim.RMSprop(p), {"alpha"}),
    "Adagrad": (lambda p: optim.Adagrad(p), {"lr_decay"}),
    "Adadelta": (lambda p: optim.Adadelta(p), {"rho"}),
    "Rprop": (lambda p: optim.Rprop(p), {"etas", "step_sizes"}),
    "ASGD": (lambda p: optim.ASGD(p), {"alpha", "lambd", "t0"}),
    "NAdam": (lambda p: optim.NAdam(p), {"momentum_decay"}),
    "Muon": (lambda p: optim.Muon(p), {"nesterov", "ns_coefficients", "ns_steps"}),
    "Adafactor": (lambda p: optim.Adafactor(p), {"beta2_decay", "d"}),
    "AdamW": (lambda p: optim.AdamW(p), set()),
    "LBFGS": (
        lambda p: optim.LBFGS(p),
        {"max_iter", "max_eval", "tolerance_grad", "tolerance_change"},
    ),
    "unknown": (lambda p: Novel(p, 0.1), {"share", "every", "taps"}),
}


@pytest.mark.parametrize("name", FIELDS)
def test_what_an_update_reads_anew_is_found(name: str) -> None:
    make, wanted = FIELDS[name]
    live = live_of(make)
    found = {setting.name: setting for setting in optimizer_fields.declare(live)}
    assert found.keys() == wanted
    for field, setting in found.items():
        assert setting.validate(optimizer_fields.read(live, field)) is not None


def test_what_the_constructor_refuses_is_refused_with_nothing_changed() -> None:
    live = live_of(lambda p: Novel(p, 0.1))
    with pytest.raises(InvalidInput, match="share too large") as caught:
        apply.write_all(live, {"taps": [3.0, 4.0], "share": 0.95})
    assert caught.value.field in ("taps", "share")
    assert apply.read_all(live)["taps"] == [1.0, 2.0] and apply.read_all(live)["share"] == 0.5
    assert apply.write_all(live, {"taps": [3.0, 4.0], "every": 5}) == {"taps": [3, 4], "every": 5}
    assert live.groups[0]["taps"] == (3.0, 4.0)


def test_fields_that_fit_only_together_are_written_together() -> None:
    live = live_of(lambda p: optim.SGD(p, 0.1, momentum=0.9, dampening=0.5))
    with pytest.raises(InvalidInput, match="SGD refused it"):
        apply.write_all(live, {"nesterov": True})
    found = apply.write_all(live, {"nesterov": True, "dampening": 0.0})
    assert found == {"nesterov": True, "dampening": 0.0}


@pytest.mark.parametrize("value", ["0.5, 0.4, 3", "nan, 2", "0.5"])
def test_lists_have_their_length_and_finite_numbers(value: str) -> None:
    (etas, _) = optimizer_fields.declare(live_of(lambda p: optim.Rprop(p)))
    with pytest.raises(InvalidInput):
        etas.validate(value)


def test_the_rate_of_one_group_leaves_the_others_and_the_schedule_alone() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    optimizer = optim.SGD([{"params": list(part.parameters())} for part in model], lr=0.1)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    live = Live(model, optimizer, schedule, None, [True, True])
    optimizer.step()
    schedule.step()
    assert apply.write_all(live, {"group1.lr": 0.4}) == {"group1.lr": 0.4}
    assert [group["lr"] for group in live.groups] == [0.05, 0.2]
    schedule.step()
    assert [group["lr"] for group in live.groups] == [0.025, 0.1]
    assert apply.read_all(live)["lr"] == 0.4 and "group1.lr" not in apply.read_all(live)
    wanted = {"group1.lr": 0.4}
    groups = apply.read_groups(live)
    assert apply.agrees(wanted, groups, apply.used(live))
    apply.write_all(live, {"group1.lr": 0.3})
    assert not apply.agrees(wanted, groups, apply.used(live))
