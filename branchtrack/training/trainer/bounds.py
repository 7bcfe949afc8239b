"""How far a Trainer's script would train, and the bounds that its loop is given instead.

A loop reads its bounds only once, and both its end and its accumulation may change while it runs.
*Counts* are what `Trainer.set_initial_training_values` returns: epochs, updates of an epoch,
examples, samples, batch size, batches of an epoch, last update.
"""

from __future__ import annotations

import sys
from typing import Any

from transformers.trainer_utils import has_length

from branchtrack.training.session.base import Base
from branchtrack.training.trainer import resumption
from branchtrack.training.trainer.data import Bounds
from branchtrack.training.trainer.protocol import BranchingTrainer


def resumed_counts(
    trainer: BranchingTrainer, base: Base, counts: tuple[Any, ...], dataloader: Any
) -> tuple[Any, ...]:
    """Return the counts of a loop that is resumed at a node and ends where that says."""
    epochs, per_epoch, examples, samples, batch, in_epoch, natural = counts
    ends = resumption.last_step(base, natural)
    if base.mode == "weights":
        # A fresh schedule is created for what is trained from here on.
        trainer._bt_schedule = {"steps": ends - base.fork.step, "path": []}
    if not has_length(dataloader):
        per_epoch, in_epoch = ends, ends * trainer.args.gradient_accumulation_steps
    elif trainer._bt_position is not None:
        # Only a bound: the loop ends with its last step.
        epochs = max(epochs, trainer._bt_position.epoch + 1 + ends - base.fork.step)
    return epochs, per_epoch, examples, samples, batch, in_epoch, ends


def open_counts(
    trainer: BranchingTrainer, counts: tuple[Any, ...], dataloader: Any
) -> tuple[Any, ...]:
    """Return the counts of a loop that ends by its last step, and its passes by last batches."""
    trainer._bt_bounds = None
    epochs, per_epoch, examples, samples, batch, in_epoch, ends = counts
    is_empty = epochs < 1 or trainer._bt_session is None or trainer._bt_position is None
    if is_empty or not has_length(dataloader):
        return counts
    accumulation = trainer.args.gradient_accumulation_steps
    trainer._bt_bounds = Bounds(epochs, per_epoch, ends, accumulation)
    return sys.maxsize, max(per_epoch, in_epoch), examples, samples, batch, in_epoch, ends
