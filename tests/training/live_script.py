"""A Trainer that trains until it is told to stop: ``python -m tests.training.live_script FOLDER``.

It has all that can be asked for: evaluation, an action, declared values of the loop and the data.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from transformers import TrainerCallback

import branchtrack
from tests.training import tiny


class Slow(TrainerCallback):
    """Leaves time for others to ask."""

    def on_step_end(self, *_: Any, **__: Any) -> None:
        time.sleep(0.03)


class Noisy(tiny.Sentences):
    """Sentences with a value that each sample is made with."""

    shift = 0

    def __getitem__(self, index: int) -> Any:
        found = super().__getitem__(index)
        return {name: (tokens + int(self.shift)) % 50 for name, tokens in found.items()}


def shout(times: Annotated[int, Field(ge=1, le=3)] = 1) -> str:
    """Say something."""
    return "ho" * times


class Weighted(tiny.BranchingTrainer):
    """Has a weight in its loss that can be changed."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        found = super().compute_loss(model, inputs, *args, **kwargs)
        scale = self.settings["scale"]
        if isinstance(found, tuple):
            return found[0] * scale, found[1]
        return found * scale


def main() -> None:
    """Train."""
    trainer = tiny.trainer(
        Weighted,
        Path(sys.argv[1]),
        max_steps=100_000,
        save_steps=100_000,
        logging_steps=10,
        evaluated=True,
        callbacks=lambda: [Slow()],
        warmup_steps=2,
        gradient_accumulation_steps=1,
    )
    trainer.train_dataset = branchtrack.declare(
        Noisy(), shift=branchtrack.setting(0, minimum=0, maximum=40)
    )
    trainer.declare(scale=branchtrack.setting(1.0, minimum=0))
    trainer.add_action("shout", shout)
    trainer.train()


if __name__ == "__main__":
    main()
