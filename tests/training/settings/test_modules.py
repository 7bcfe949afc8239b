"""Dropout is in use only in modules that are training."""

from __future__ import annotations

import time
from typing import Any

import torch

from branchtrack.training.settings import apply
from branchtrack.training.settings.live import Live
from tests.training import loops
from tests.training.homes import Home


def test_an_update_uses_the_dropout_of_modules_that_train_alone() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.4), torch.nn.Linear(2, 2), torch.nn.Dropout(0.2))
    live = Live(model, loops.sgd(model), None, None, [True])
    names = ("dropout", "model.0.p", "model.2.p")
    assert not apply.unused(live)
    model[0].eval()
    found = apply.used(live)
    assert [found[name] for name in names] == [0.2, 0.0, 0.2]
    assert apply.unused(live) == {"dropout", "model.0.p"}
    model.eval()
    found, told = apply.in_force(live), apply.read_all(live, details=True)
    assert [found[name] for name in names] == [0.0, 0.0, 0.0]
    assert [told[name] for name in names] == [0.4, 0.4, 0.2]


def test_dropout_of_a_model_in_eval_is_ineffective_and_no_matter_where_nobody_asks(
    home: Home,
) -> None:
    def at(run: Any, _optimizer: Any) -> None:
        if run.update == 2:
            home.ask("set", values={"dropout": 0.5})
            deadline = time.monotonic() + 60
            while not run._session.recorder.inbox.pending and time.monotonic() < deadline:
                time.sleep(0.002)

    how: dict[str, Any] = {"model": lambda: loops.net().eval(), "max_steps": 4}
    loops.train(home, at=at, **how)
    (request,) = home.requests()
    assert request.state == "ineffective" and "used 0.0" in (request.error or "")
    launch = home.order(home.node(1))
    loops.train(home, launch, **how)
    effective = home.fork(launch).effective
    assert effective is not None and effective["verified"] is True
