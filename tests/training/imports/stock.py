"""Checkpoint folders as a stock Trainer writes them, and what imports them in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Trainer

from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.training.imports import folder, recording, states
from tests.training import tiny
from tests.training.homes import Home

HOW: dict[str, Any] = {"save_steps": 4, "evaluated": False}


def trained(path: Path, **how: Any) -> Trainer:
    """A stock Trainer that has trained to its end, with checkpoints in ``path/output``."""
    trainer: Trainer = tiny.trainer(Trainer, path, **{**HOW, **how})
    trainer.train()
    return trainer


def checkpoint(path: Path, step: int = 8) -> Path:
    """The folder of a checkpoint of `trained`."""
    return path / "output" / f"checkpoint-{step}"


def imported(home: Home, path: Path, name: str = "demo", **how: Any) -> Node:
    """Import a folder into a home; return the node."""
    contents = folder.read(path, **how)
    state = states.of(contents)
    recorded = recording.record(home.database, home.store, contents, state, name, "ann")
    with home.database.read() as connection:
        return nodes.get(connection, recorded.node.id)
