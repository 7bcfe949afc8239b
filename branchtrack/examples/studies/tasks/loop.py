"""The loop that the studies' trainings share, as a user would write it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

import branchtrack
from branchtrack.examples.studies.tasks import best
from branchtrack.examples.studies.tasks.members import Members
from branchtrack.examples.studies.tasks.options import schedule
from branchtrack.examples.studies.tasks.pace import Pace, Unpaced, ends_by_itself

#: The largest norm of a gradient.
_CLIP = 1.0
#: Seconds between two looks for a request, and for it to arrive.
_LOOK, _ARRIVAL = 0.02, 30.0


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


def task_of(
    parts: Mapping[str, Sequence[torch.Tensor]],
    build: Callable[[int], torch.nn.Module],
    loss: Callable[[torch.nn.Module, Sequence[torch.Tensor]], torch.Tensor],
    options: argparse.Namespace,
) -> Task:
    """Return the task of a model on tensors of equal length, by part: train, validation, test.

    ``build`` makes the model of a size, ``loss`` is that of a model on a batch or a whole part.
    """
    torch.manual_seed(options.seed)  # before the model is made
    model = build(options.size)

    def measure(part: str) -> float:
        with torch.no_grad():
            return float(loss(model, parts[part]))

    data = TensorDataset(*parts["train"])
    loader = DataLoader(data, options.batch, shuffle=True, drop_last=True)
    return Task(model, loader, lambda batch: loss(model, batch), measure)


def train(task: Task, options: argparse.Namespace) -> None:
    """Train until the run has used its updates, those of abandoned branches too."""
    trained = [weight for weight in task.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.lr, weight_decay=task.weight_decay)
    scheduler = schedule(options, optimizer)
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
                _wait(run, pace)
        # A rollback at the last update begins a process that has none left.
        for batch in run.batches() if pace.left(run.step_number) > 0 else ():
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
            held_out = run.evaluate() if is_look or is_last else {}
            if is_last:
                _test(run, task, held_out["eval_loss"], options.every)
            if run.step() or is_last:
                break
            if is_look:
                _wait(run, pace)


def _wait(run: Any, pace: Pace | Members | Unpaced) -> None:
    """Wait until an agent has looked, and until what it asks for is there to be answered."""
    is_asked = pace.wait(run.update)
    deadline = time.monotonic() + _ARRIVAL
    while is_asked and not run.is_called and time.monotonic() < deadline:
        time.sleep(_LOOK)


def _test(run: Any, task: Task, loss: float, every: int) -> None:
    """Log the test loss of the best node of the run, whose own validation loss is ``loss``."""
    newest = (run.update - 1) // every * every
    run.log(best.measure(task.model, lambda: task.measure("test"), loss, newest))


def _pace(options: argparse.Namespace, start: int) -> Pace | Members | Unpaced:
    if ends_by_itself():
        return Unpaced()
    if options.members:
        return Members(options.steps, options.members, options.interval, options.agent)
    return Pace(options.steps, start, options.agent)
