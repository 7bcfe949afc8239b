"""The content of batches and samples, as bytes for a digest: equal values give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch


def feed(digest: Any, value: Any, depth: int = 4) -> None:
    """Feed a digest of hashlib with a value: tensors and arrays by dtype, shape and bytes.

    Containers and objects are followed ``depth`` levels deep.
    """
    digest.update(f"{type(value).__name__}:".encode())
    if isinstance(value, torch.Tensor):
        _hash_tensor(digest, value)
    elif isinstance(value, (np.ndarray, np.generic)):
        digest.update(f"{value.dtype.str}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, Mapping):
        for key in value:
            digest.update(f"{key!r}=".encode())
            feed(digest, value[key], depth - 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            feed(digest, item, depth - 1)
    elif isinstance(value, bytes):
        digest.update(value)
    elif value is None or isinstance(value, (bool, int, float, str, complex)):
        digest.update(repr(value).encode("utf-8", "backslashreplace"))
    elif depth > 0:
        _hash_object(digest, value, depth)


def _hash_tensor(digest: Any, value: torch.Tensor) -> None:
    digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
    if value.is_nested or value.layout is not torch.strided:
        dense = value.values() if hasattr(value, "values") else value.to_dense()
        _hash_tensor(digest, dense)
    elif value.numel():
        flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)


def _hash_object(digest: Any, value: Any, depth: int) -> None:
    """Hash an object by its content: the bytes of a picture, the attributes of others."""
    if callable(getattr(value, "tobytes", None)):
        digest.update(value.tobytes())
    elif is_dataclass(value):
        for field in fields(value):
            feed(digest, getattr(value, field.name, None), depth - 1)
    else:
        for name, item in sorted(getattr(value, "__dict__", {}).items()):
            digest.update(f"{name}=".encode())
            feed(digest, item, depth - 1)
