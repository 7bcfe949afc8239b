"""Resumes of a plain loop with changes, and what its updates then used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import lr_scheduler as schedulers

import branchtrack
from branchtrack.core.records import Launch
from branchtrack.training.loop.run import Run
from tests.training import loops
from tests.training.homes import Home

AT = 4
Groups = list[list[dict[str, Any]]]


def adamw(model: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)


def cosine(optimizer: Any) -> Any:
    return schedulers.CosineAnnealingLR(optimizer, loops.STEPS)


def settings() -> dict[str, Any]:
    return {"smoothing": branchtrack.setting(0.1, minimum=0.0, maximum=0.5), "unread": 3}


HOW: dict[str, Any] = {"optimizer": adamw, "scheduler": cosine}


def reads(run: Run, optimizer: Any) -> None:
    """What a loop does with a setting of its author's."""
    assert 0 <= run.settings["smoothing"] <= 0.5


def resume(
    home: Home, changes: dict[str, Any], step: int = AT, mode: str = "exact", **how: Any
) -> tuple[Launch, Groups, Run]:
    """Resume a node of ``tiny/main`` with changes; the groups that every update used."""
    used: Groups = []

    def spied(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def made(model: Any) -> Any:
            optimizer = make(model)
            optimizer.register_step_pre_hook(
                lambda o, *_: used.append([{**group, "params": 0} for group in o.param_groups])
            )
            return optimizer

        return made

    launch = home.order(home.node(step), changes, mode=mode)
    given = {**HOW, "settings": settings(), "at": reads, **how}
    given["optimizer"] = spied(given["optimizer"])
    return launch, used, loops.train(home, launch, **given)


def obeyed(home: Home, launch: Launch) -> dict[str, Any]:
    """What was read back at the first update of a launch, which obeyed."""
    effective = home.fork(launch).effective
    assert effective is not None and effective["obeyed"] is True, effective
    return effective


def rates(make: Callable[[Any], Any], lr: float, steps: int) -> list[float]:
    """The rates that a schedule has for its first updates."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule, found = make(optimizer), []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


def nothing(run: Run, optimizer: Any) -> None:
    """At no control point anything is to be done."""
