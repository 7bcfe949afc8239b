"""Files of torch, which are pickles, read by torch's restricted unpickler.

It makes tensors and plain values only. A file that names anything else is refused by name, and
nothing in it is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from branchtrack.errors import InvalidInput

#: What the state of numpy's generator is made of, under the names of numpy 2 and of numpy 1.
#: The function is numpy's own for pickles, and its stubs leave it out.
_NUMPY: tuple[Any, ...] = (
    np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),  # type: ignore[attr-defined]
    np.ndarray,
    np.dtype,
    type(np.dtype(np.uint32)),
)
_NAMED = re.compile(r"GLOBAL ([\w.]+)")


@dataclass(frozen=True)
class Loaded:
    """The value in a file, and the addresses of its tensors that were on the host."""

    value: dict[str, Any]
    on_host: frozenset[int]


def load(path: Path) -> Loaded:
    """Return the mapping in a file of torch; its tensors are on the host.

    Raises:
        InvalidInput: it is damaged, is no mapping, or names more than tensors and plain values.
    """
    on_host: set[int] = set()

    def note(storage: torch.UntypedStorage, device: str) -> torch.UntypedStorage:
        if device == "cpu":
            on_host.add(storage.data_ptr())
        return storage

    try:
        with torch.serialization.safe_globals(list(_NUMPY)):
            # The stubs know a function of storages as a location only by its text form.
            value = torch.load(
                path,
                map_location=note,  # type: ignore[arg-type]
                weights_only=True,
            )
    except Exception as error:
        raise _refused(path, _reason(error)) from error
    if not isinstance(value, dict):
        raise _refused(path, f"it holds a {type(value).__name__}, not a state")
    return Loaded(dict(value), frozenset(on_host))


def _reason(error: Exception) -> str:
    """Say why a file was not read, without torch's advice to read it unrestricted."""
    named = _NAMED.search(str(error))
    if named is not None:
        return f"it names {named[1]}, which is not allowed in data and was not run"
    first = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"torch cannot read it as data ({type(error).__name__}: {first[:200]})"


def _refused(path: Path, why: str) -> InvalidInput:
    others = "" if path.suffix == ".bin" else ", or --weights-only to import the weights alone"
    return InvalidInput(
        "folder",
        str(path.parent),
        f"files of tensors and plain values{others}",
        what=f"{path.name} is refused: {why}.",
    )
