"""What is in a checkpoint folder of a stock Trainer, or of `save_pretrained`: read, never executed.

JSON and safetensors are data. Files of torch are pickles, and are read with torch's restricted
unpickler; ``training_args.bin`` is a pickle of classes, and is never read. It knows no model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from branchtrack.checkpoints.export import STATE_FILE, TRAINING_FILE
from branchtrack.errors import InvalidInput
from branchtrack.training.imports import exports, pickles, weights
from branchtrack.training.state.snapshots import Snapshot

CONFIG, TRAINER_STATE = "config.json", "trainer_state.json"
OPTIMIZER, SCHEDULER, RANDOM, SCALER = "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"
#: What a training that continues exactly needs; a Trainer writes all of them together.
_TRAINING = (TRAINER_STATE, OPTIMIZER, SCHEDULER, RANDOM)
#: Files of tokenizers and other processors, which are copied byte for byte.
_PROCESSOR = frozenset(
    """tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json
    vocab.txt merges.txt spiece.model sentencepiece.bpe.model tokenizer.model chat_template.jinja
    chat_template.json preprocessor_config.json processor_config.json""".split()
)
#: Files with nothing of the state in them.
_NO_STATE = frozenset((CONFIG, TRAINER_STATE, "generation_config.json", "README.md"))
_ARGUMENTS = "training_args.bin"


@dataclass
class Contents:
    """What a folder holds.

    ``counters`` are a Trainer's, empty in a folder of weights; ``optimizer``, ``scheduler``,
    ``random`` and ``scaler`` are as torch saved them, None where they are not there or were left
    out; ``processor`` holds files by name, ``exported`` what an export of branchtrack's has more.
    ``left_out`` says by file name what is not imported, and why; ``on_host`` are the addresses of
    tensors that were on the host when they were saved.
    """

    path: Path
    config: dict[str, Any] | None
    weights: dict[str, torch.Tensor]
    counters: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] | None = None
    scheduler: dict[str, Any] | None = None
    random: dict[str, Any] | None = None
    scaler: dict[str, Any] | None = None
    processor: dict[str, bytes] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    on_host: frozenset[int] = frozenset()
    exported: Snapshot | None = None

    @property
    def step(self) -> int:
        """The updates that were made."""
        return int(self.counters.get("global_step", 0))

    @property
    def is_complete(self) -> bool:
        """Whether a training can be continued exactly from it."""
        return self.optimizer is not None


def read(path: Path, *, weights_only: bool = False) -> Contents:
    """Return what is in a folder; with ``weights_only`` no pickle of the training is opened.

    Raises:
        InvalidInput: it is no such folder, or a file in it is damaged or needs to be unpickled
            without restrictions.
    """
    if not path.is_dir():
        raise refused(path, f"{path} is not a folder.")
    entries = {entry.name: entry for entry in path.iterdir()}
    names = {name for name, entry in entries.items() if entry.is_file()}
    if not weights_only and (odd := sorted({*_TRAINING, SCALER} & (entries.keys() - names))):
        raise _incomplete(path, f"{odd[0]} is no file that can be read")
    if "adapter_config.json" in names:
        raise refused(path, "adapter_config.json: adapters of peft cannot be imported.")
    config = _object(path / CONFIG) if CONFIG in names else None
    contents = Contents(path, config, weights.read(path, names))
    if TRAINER_STATE in names:
        contents.counters = _counters(path / TRAINER_STATE)
    contents.processor = {
        name: (path / name).read_bytes()
        for name in sorted(names & _PROCESSOR)
        if (path / name).stat().st_size
    }
    _read_training(contents, names, weights_only=weights_only)
    _name_rest(contents, names)
    return contents


def refused(path: Path, what: str, allowed: str = "") -> InvalidInput:
    """Return the error of a folder that cannot be imported."""
    return InvalidInput(
        "folder",
        str(path),
        allowed or "a checkpoint folder that a Trainer or save_pretrained wrote",
        what=what,
    )


def _incomplete(path: Path, what: str) -> InvalidInput:
    return refused(
        path,
        f"{what}: a training cannot be continued exactly from it.",
        "a whole checkpoint, or --weights-only to import its weights alone",
    )


def _read_training(contents: Contents, names: set[str], *, weights_only: bool) -> None:
    path, there = contents.path, [name for name in (OPTIMIZER, SCHEDULER, RANDOM) if name in names]
    if OPTIMIZER not in there and there and not weights_only:
        raise _incomplete(path, f"The folder has {there[0]}, but no {OPTIMIZER}")
    if weights_only or OPTIMIZER not in names:
        why = "only the weights were asked for" if weights_only else f"there is no {OPTIMIZER}"
        contents.left_out |= dict.fromkeys([*there, *([SCALER] if SCALER in names else [])], why)
        return
    if missing := [name for name in _TRAINING if name not in names]:
        several = sorted(name for name in names if name.startswith("rng_state_"))
        why = f" ({several[0]} is of a training of several processes)" if several else ""
        raise _incomplete(
            path, f"The folder has {OPTIMIZER}, but no {' and no '.join(missing)}{why}"
        )
    loaded = pickles.load(path / OPTIMIZER)
    contents.optimizer, contents.on_host = loaded.value, loaded.on_host
    contents.scheduler = pickles.load(path / SCHEDULER).value
    contents.random = pickles.load(path / RANDOM).value
    contents.scaler = pickles.load(path / SCALER).value if SCALER in names else None
    contents.exported = exports.read(path, names)


def _name_rest(contents: Contents, names: set[str]) -> None:
    """Name the files that are not imported."""
    if _ARGUMENTS in names:
        contents.left_out[_ARGUMENTS] = "it is a pickle of classes, which is never loaded"
    known = set() if contents.exported is None else {STATE_FILE, TRAINING_FILE}
    known |= {*_NO_STATE, *_TRAINING, SCALER, *_PROCESSOR, *contents.left_out}
    for name in sorted(names - known):
        if not weights.is_weights(name) and not name.startswith("."):
            contents.left_out[name] = "it is no part of a Trainer's state that is known"


def _counters(path: Path) -> dict[str, Any]:
    state = _object(path)
    step = state.get("global_step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 2**62:
        raise refused(path.parent, f"{path.name}: global_step is not a number of updates.")
    history = state.get("log_history", [])
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise refused(path.parent, f"{path.name}: log_history is not a list of entries.")
    epoch = state.get("epoch")
    if epoch is not None and not (isinstance(epoch, (int, float)) and math.isfinite(epoch)):
        raise refused(path.parent, f"{path.name}: epoch is not a number.")
    return state


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise refused(path.parent, f"{path.name} cannot be read: {error}.") from error
    if not isinstance(value, Mapping):
        raise refused(path.parent, f"{path.name} is not a JSON object.")
    return dict(value)
