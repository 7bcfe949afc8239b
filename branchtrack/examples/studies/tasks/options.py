"""The options that all of the studies' trainings have, and the schedules by name."""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

#: The share of a cosine's updates in which the rate rises.
_WARM_UP = 0.05
#: How many times higher the rate is after a jump.
JUMP = 16
SCHEDULES = ("constant", "cosine", "jump")


def parser(about: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser of the options; ``defaults`` by name replace those of all tasks."""
    values = {"seed": 0, "steps": 200, "every": 20, "schedule": "constant", **defaults}
    options = argparse.ArgumentParser(description=about, allow_abbrev=False)
    options.add_argument("--name", help="name of the run")
    options.add_argument("--seed", type=int)
    options.add_argument("--size", type=int, help="how large the model is")
    options.add_argument("--batch", type=int, help="samples of an update")
    options.add_argument("--lr", type=float)
    options.add_argument("--steps", type=int, help="updates of the run, abandoned ones too")
    options.add_argument("--every", type=int, help="updates between evaluations and checkpoints")
    options.add_argument("--schedule", choices=SCHEDULES)
    options.add_argument("--turn", type=int, default=0, help="update at which the rate jumps")
    options.add_argument("--agent", help="wait at each evaluation for the look of this agent")
    options.add_argument("--members", type=int, default=0, help="branches that share the updates")
    options.add_argument("--interval", type=int, help="updates of a member between comparisons")
    options.set_defaults(**values)
    return options


def schedule(chosen: argparse.Namespace, optimizer: torch.optim.Optimizer) -> LambdaLR | None:
    """Return the schedule that was chosen; None if the rate is constant."""
    if chosen.schedule == "constant":
        return None
    if chosen.schedule == "jump":
        turn: int = chosen.turn
        return LambdaLR(optimizer, lambda step: 1.0 if step >= turn else 1 / JUMP)
    steps: int = chosen.steps
    warm_up = max(1, round(steps * _WARM_UP))

    def share(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / (steps - warm_up))))

    return LambdaLR(optimizer, share)
