"""Every optimizer that the Trainer offers here, and some of a script's own: exact, and steered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import optim

from branchtrack.errors import InvalidInput
from tests.matrices import some
from tests.training import exact
from tests.training.callbacks import Spy
from tests.training.homes import Home


class Counting(optim.Optimizer):
    """Counts its steps under a name of its own, in a group, and beside it all."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr, "kind": "plain", "seen": 0})
        self.calls = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Gradients, divided by what was counted."""
        self.calls += 1
        self.state["steps"] = self.state.get("steps", 0) + 1
        for group in self.param_groups:
            group["seen"] += 1
            for p in group["params"]:
                if p.grad is not None:
                    counted = self.calls + self.state["steps"] + group["seen"]
                    p.add_(p.grad, alpha=-group["lr"] / counted)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "calls": self.calls}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.calls = state_dict["calls"]
        super().load_state_dict({n: v for n, v in state_dict.items() if n != "calls"})


def own(make: Callable[..., Any], **given: Any) -> dict[str, Any]:
    return {"optimizers": lambda model: (make(model.parameters(), **given), None)}


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "adamw_torch_fused": ({"optim": "adamw_torch_fused"}, {"betas": "0.8, 0.9", "eps": 1e-6}),
    "adafactor": ({"optim": "adafactor"}, {"lr": 2e-3, "eps": "1e-20, 1e-2"}),
    "sgd": (
        {"optim": "sgd", "optim_args": "momentum=0.9,nesterov=True"},
        {"momentum": 0.5, "nesterov": False, "dampening": 0.1},
    ),
    "adagrad": ({"optim": "adagrad"}, {"eps": 1e-5, "lr_decay": 0.1}),
    "rmsprop": (
        {"optim": "rmsprop", "optim_args": "momentum=0.9,centered=True"},
        {"momentum": 0.3, "alpha": 0.8},
    ),
    "NAdam": (own(optim.NAdam, lr=1e-3), {"momentum_decay": 0.01}),
    "Adadelta": (own(optim.Adadelta, lr=1.0), {"rho": 0.5}),
    "Rprop": (own(optim.Rprop, lr=1e-3), {"etas": "0.4, 1.3"}),
    "torch's Adafactor": (own(optim.Adafactor, lr=1e-3), {"d": 2.0}),
    "a rate in a tensor": (own(optim.AdamW, lr=torch.tensor(1e-3)), {"lr": 2e-3}),
    "one of the script's own": (own(Counting, lr=0.1), {"lr": 0.2}),
}


@pytest.mark.parametrize(
    "kind", some(KINDS, "adamw_torch_fused", "NAdam", "one of the script's own")
)
def test_it_is_exact_and_obeys(kind: str, home: Home) -> None:
    how, settings = KINDS[kind]
    how = {"save_steps": 3, "max_steps": 6, **how}
    exact.agree(home, lambda: how, [3])
    spy = Spy()
    launch = home.order(home.node(3), settings)
    home.train(launch, callbacks=lambda: [spy], **how)
    found = exact.verified(home, launch)
    for name, value in settings.items():
        wanted = (
            [float(one) for one in value.split(",")] if isinstance(value, str) else float(value)
        )
        assert found[name] == pytest.approx(wanted)
        key = "initial_lr" if name == "lr" else name
        assert (
            list(map(float, spy.groups[0][0][key])) == pytest.approx(wanted)
            if isinstance(wanted, list)
            else float(spy.groups[0][0][key]) == pytest.approx(wanted)
        )


LACKING = {
    "adamw_torch": ["momentum", "nesterov", "maximize"],
    "sgd": ["betas"],
    "adafactor": ["betas"],
    "adagrad": ["momentum"],
}


@pytest.mark.parametrize("optimizer", some(LACKING, "adamw_torch", "adafactor"))
def test_what_it_has_not_is_refused_with_what_it_has(optimizer: str, home: Home) -> None:
    home.train(optim=optimizer, max_steps=1)
    for name in LACKING[optimizer]:
        with pytest.raises(InvalidInput, match=r"There is no setting .*max_grad_norm") as caught:
            home.order(home.node(0), {name: "0.5"})
        assert caught.value.field == name


def test_adafactors_pairs_stay_what_they_are(home: Home) -> None:
    how: dict[str, Any] = {"optim": "adafactor", "max_steps": 4, "save_steps": 2}
    home.train(**how)
    spy = Spy()
    home.train(home.order(home.node(2), {"lr": 2e-3}), callbacks=lambda: [spy], **how)
    assert spy.groups[0][0]["eps"] == (1e-30, 1e-3) and spy.groups[0][0]["beta1"] is None
