"""Export of a checkpoint to files that other tools can open: safetensors and JSON.

It must not know torch, transformers or SQL; every byte it writes was read with its digest
checked. transformers' ``from_pretrained(target)`` opens the result.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from branchtrack.checkpoints import files
from branchtrack.checkpoints.headers import build, lay_out
from branchtrack.checkpoints.manifest import Entry, Manifest
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import TensorLocation
from branchtrack.errors import InvalidInput

MODEL_FILE = "model.safetensors"
TRAINING_FILE = "training_state.safetensors"
STATE_FILE = "state.json"
CONFIG_FILE = "config.json"
MODEL_ROLE = "model"
#: Files that let other libraries open the model, with their bytes, by path.
FILES_ROLE = "files"
ALIASES_KEY = "aliases"
TRANSIENT_KEY = "transient"
CONFIG_KEY = "model_config"
EXPORT_KEY = "export"


def export(
    store: Store,
    manifest: Manifest,
    locations: Mapping[str, TensorLocation],
    target: Path,
    *,
    raw: bool = False,
) -> list[Path]:
    """Write a checkpoint's content into an empty folder.

    Args:
        locations: by digest, for every entry of the manifest.
        target: a folder that is empty or does not exist yet.
        raw: leave out everything that marks the files as a model of another library.

    Returns:
        The files written: ``model.safetensors`` (weights and buffers under the model's own names),
        ``training_state.safetensors`` (the rest, names with their role), ``state.json``, and
        ``config.json`` if the state holds the model's configuration.

    Raises:
        InvalidInput: the target is a file, or a folder with something in it.
        CheckpointMissing, CheckpointDamaged: a tensor cannot be read; the target is left empty.
        StorageError: the target cannot be written; no files are left in it.
    """
    _check_target(target)
    written: list[Path] = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, tensors in _tensor_files(manifest).items():
            if tensors:
                written.append(target / name)
                _write_tensors(store, tensors, manifest, locations, target / name)
        for entry in manifest.entries if not raw else ():
            if entry.role == FILES_ROLE:
                path = _inside(target, entry.name.removeprefix(f"{FILES_ROLE}/"))
                path.parent.mkdir(parents=True, exist_ok=True)
                written.append(path)
                path.write_bytes(_content(store, entry, locations))
        for name, value in _json_files(manifest.state, raw=raw).items():
            written.append(target / name)
            text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
            (target / name).write_text(text, encoding="utf-8")
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise files.unusable(target, error) from error
        raise
    return written


def _check_target(target: Path) -> None:
    """Refuse a target that holds anything: an export never overwrites files."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidInput("target", str(target), "a folder that is empty or does not exist")


def _tensor_files(manifest: Manifest) -> dict[str, list[tuple[str, Entry]]]:
    """Return (name in the file, entry) pairs for each safetensors file."""
    model, training = [], []
    transient = manifest.state.get(TRANSIENT_KEY, ())
    for entry in manifest.whole:
        if entry.role == FILES_ROLE:
            continue
        if entry.role != MODEL_ROLE:
            training.append((entry.name, entry))
        elif not _is_alias(entry, manifest):
            name = entry.name.removeprefix(f"{MODEL_ROLE}/")
            # A buffer that the model's own checkpoints leave out belongs to the training state.
            if name in transient:
                training.append((entry.name, entry))
            else:
                model.append((name, entry))
    return {MODEL_FILE: model, TRAINING_FILE: training}


def _is_alias(entry: Entry, manifest: Manifest) -> bool:
    """Return whether the entry is a second name for a tensor that is written under its first.

    The model that loads tied weights ties them again; see safetensors/safetensors#586. Equal
    content alone proves nothing: two tensors may be equal at one step by chance.
    """
    aliases = manifest.state.get(ALIASES_KEY, {})
    original = aliases.get(entry.name, aliases.get(entry.name.removeprefix(f"{MODEL_ROLE}/")))
    if original is None:
        return False
    names = (original, f"{MODEL_ROLE}/{original}")
    return any(e.name in names and e.digest == entry.digest for e in manifest.whole)


def _inside(target: Path, name: str) -> Path:
    """Return the path of a file of the state, which must lie within the target."""
    path = target / name
    if not path.resolve().is_relative_to(target.resolve()):
        raise files.damaged(str(path), name, "its path leads out of the folder")
    return path


def _json_files(state: dict[str, Any], *, raw: bool) -> dict[str, Any]:
    """Return the JSON content of each file that holds no tensors."""
    # A state with more than one transformers model holds a configuration for each.
    config = None if raw or EXPORT_KEY in state else state.get(CONFIG_KEY)
    return {STATE_FILE: state} | ({CONFIG_FILE: config} if isinstance(config, dict) else {})


def _write_tensors(
    store: Store,
    tensors: Sequence[tuple[str, Entry]],
    manifest: Manifest,
    locations: Mapping[str, TensorLocation],
    path: Path,
) -> None:
    """Write a safetensors file one tensor at a time, so that at most one is in memory.

    What ranks have stored in pieces is written piece after piece.
    """
    entries, stored = dict(tensors), {entry.name: entry for entry in manifest.entries}
    pieces = {t.name: [stored[name] for name, _, _ in t.pieces()] for t in manifest.sharded}
    slots = lay_out((name, entry.dtype, entry.shape) for name, entry in tensors)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        # transformers refuses files that do not name their framework.
        files.write_all(file, [build(slots, {"format": "pt"}).raw])
        for slot in slots:
            whole = entries[slot.name]
            for entry in pieces.get(whole.name, [whole]):
                files.write_all(file, [_content(store, entry, locations)])
    finally:
        os.close(file)


def _content(store: Store, entry: Entry, locations: Mapping[str, TensorLocation]) -> bytearray:
    """Return the bytes of one entry, whose location must match it."""
    location = locations.get(entry.digest)
    if location is None:
        raise files.missing(store.describe(), entry.name)
    recorded = (location.digest, location.dtype, location.shape)
    if recorded != (entry.digest, entry.dtype, entry.shape):
        path = store.describe(location.pack)
        raise files.damaged(path, entry.name, "the manifest has another dtype or shape")
    return store.read(location)
