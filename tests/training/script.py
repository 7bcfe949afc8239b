"""A script as a user writes it: ``python -m tests.training.script FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from tests.training import tiny


def trainer(folder: Path) -> Any:
    """The tiny trainer with everything that has state."""
    return tiny.trainer(
        tiny.BranchingTrainer,
        folder,
        eval_strategy="steps",
        eval_steps=4,
        save_steps=5,
        logging_steps=3,
        weight_decay=0.1,
    )


def main() -> None:
    """Train."""
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    trainer(Path(sys.argv[1])).train()


if __name__ == "__main__":
    main()
