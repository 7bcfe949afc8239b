"""Known parts of a loop that the project's tests do not cover; nothing here is guessed."""

from __future__ import annotations

from transformers import Trainer

from branchtrack.training.trainer.protocol import BranchingTrainer

#: The parts of a Trainer's loop that decide what is trained, in which order.
_LOOP = ("_inner_training_loop", "_run_epoch", "_maybe_log_save_evaluate", "training_step")


def of_trainer(trainer: BranchingTrainer) -> list[str]:
    """List the uncovered parts of a Trainer with a loader: its own loop methods, other loaders."""
    uncovered = [
        f"{type(trainer).__name__} has {name.lstrip('_')} of its own"
        for name in _LOOP
        if getattr(type(trainer), name) is not getattr(Trainer, name)
    ]
    tracked = trainer._bt_position.tracked if trainer._bt_position is not None else None
    if tracked is None:
        uncovered.append("a data loader that is not torch's")
    elif tracked.kind == "other":
        uncovered.append("a data loader that can only be read from its start")
    return uncovered
