"""A script as a user writes it: ``python -m tests.training.script FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from tests.training import tiny


def main() -> None:
    """Train the tiny model with everything that has state."""
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    trainer = tiny.trainer(
        tiny.BranchingTrainer,
        Path(sys.argv[1]),
        eval_strategy="steps",
        eval_steps=4,
        save_steps=5,
        logging_steps=3,
        weight_decay=0.1,
    )
    trainer.train()


if __name__ == "__main__":
    main()
