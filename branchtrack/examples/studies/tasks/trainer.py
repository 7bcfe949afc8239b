"""The network of `text`, trained by the Hugging Face Trainer.

    python -m branchtrack.examples.studies.tasks.trainer --lr 4e-3 --schedule cosine

``--size`` is the width of the model, ``--schedule`` one of transformers' schedules. With
``--decay`` the rate is constant until it falls to zero in so many updates.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import nn
from transformers import Trainer, TrainingArguments, set_seed

import branchtrack
from branchtrack import config
from branchtrack.examples.studies.tasks import text

#: The name of the windows of bytes in a batch.
_INPUT = "windows"


class Model(nn.Module):
    """A network that returns its own loss, as a Trainer expects it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.network = text.Network(width)

    def forward(self, windows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the mean loss of windows of bytes, (n, CONTEXT) int64."""
        return {"loss": text.loss(self.network, windows)}


class TestedTrainer(Trainer):
    """A Trainer that measures the test loss once, after the last update."""

    test: torch.Tensor

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Return the metrics of the validation part; log the test loss too, at the end."""
        metrics: dict[str, float] = super().evaluate(*arguments, **options)
        if self.state.global_step >= self.state.max_steps:
            model: Any = self.model
            with torch.no_grad():
                self.log({"test_loss": float(model(self.test)["loss"])})
        return metrics


BranchingTrainer = branchtrack.make_branching(TestedTrainer)


def parser() -> argparse.ArgumentParser:
    """Return a parser of the options."""
    options = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    options.add_argument("--name", default="trainer", help="name of the run")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--size", type=int, default=64, help="how large the model is")
    options.add_argument("--batch", type=int, default=16, help="samples of an update")
    options.add_argument("--lr", type=float, default=4e-3, help="the peak rate")
    options.add_argument("--steps", type=int, default=200, help="updates")
    options.add_argument("--every", type=int, default=20, help="updates between evaluations")
    options.add_argument("--save", type=int, default=100, help="updates between checkpoints")
    options.add_argument("--schedule", default="constant_with_warmup", help="one of transformers'")
    options.add_argument(
        "--decay", type=int, help="updates of a linear fall of the rate at the end"
    )
    options.add_argument("--warm-up", type=int, default=20, help="updates in which the rate rises")
    return options


def arguments(chosen: argparse.Namespace) -> TrainingArguments:
    """Return what the options are for a Trainer."""
    return TrainingArguments(
        # In the home, and not where the command was given.
        output_dir=str(config.load().home / "trainer" / chosen.name),
        run_name=chosen.name,
        max_steps=chosen.steps,
        learning_rate=chosen.lr,
        lr_scheduler_type="warmup_stable_decay" if chosen.decay else chosen.schedule,
        lr_scheduler_kwargs=_fall(chosen.decay),
        warmup_steps=chosen.warm_up,
        weight_decay=0.01,
        per_device_train_batch_size=chosen.batch,
        per_device_eval_batch_size=160,
        logging_steps=chosen.every,
        eval_strategy="steps",
        eval_steps=chosen.every,
        save_steps=chosen.save,
        label_names=[_INPUT],
        seed=chosen.seed,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )


def _fall(updates: int | None) -> dict[str, Any] | None:
    return {"num_decay_steps": updates, "decay_type": "linear"} if updates else None


def main() -> None:
    chosen = parser().parse_args()
    parts = text.parts()
    data = {part: [{_INPUT: window} for window in windows] for part, windows in parts.items()}
    set_seed(chosen.seed)  # before the model is made
    trainer = BranchingTrainer(
        Model(chosen.size),
        arguments(chosen),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
    )
    trainer.test = parts["test"]
    trainer.train()


if __name__ == "__main__":
    main()
