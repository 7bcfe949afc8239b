"""The loop that the studies' trainings share, as a user would write it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import branchtrack
from branchtrack.examples.studies.tasks.members import Members
from branchtrack.examples.studies.tasks.options import schedule
from branchtrack.examples.studies.tasks.pace import Pace

#: The largest norm of a gradient.
_CLIP = 1.0


@dataclass(frozen=True)
class Task:
    """A model and its data; ``loss`` of a batch, and ``measure`` of a part of what is held out.

    The parts are ``validation``, by which others may choose, and ``test``, which is measured once.
    """

    model: torch.nn.Module
    loader: Any
    loss: Callable[[Any], torch.Tensor]
    measure: Callable[[str], float]
    weight_decay: float = 0.01


def train(task: Task, options: argparse.Namespace) -> None:
    """Train until the run has used its updates, those of abandoned branches too."""
    trained = [weight for weight in task.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.lr, weight_decay=task.weight_decay)
    scheduler = schedule(options.schedule, optimizer, options.steps)
    run = branchtrack.start(
        options.name,
        model=task.model,
        optimizer=optimizer,
        scheduler=scheduler,
        data=task.loader,
        evaluate=lambda: {"eval_loss": task.measure("validation")},
        max_steps=options.steps,
        save_steps=options.every,
        seed=options.seed,
    )
    with run:
        pace = _pace(options, run.step_number)
        if run.step_number == 0:
            run.evaluate()
            if options.members:
                pace.wait(0)
        for batch in run.batches():
            loss = task.loss(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, _CLIP)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            optimizer.zero_grad()
            run.log(loss=loss)
            is_last = pace.left(run.update) <= 0
            is_look = run.update % options.every == 0
            if is_look or is_last:
                run.evaluate()
            if is_last:
                run.log(test_loss=task.measure("test"))
            if run.step() or is_last:
                break
            if is_look:
                pace.wait(run.update)


def _pace(options: argparse.Namespace, start: int) -> Pace | Members:
    if options.members:
        return Members(options.steps, options.members, options.interval, options.agent)
    return Pace(options.steps, start, options.agent)
