"""The random number generators of a process as tensors and JSON: python, numpy, torch, devices."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def capture(*, devices: bool = True) -> dict[str, Any]:
    """Return the state of every global generator, as plain data, arrays and tensors.

    Shapes: python 625 (uint32), numpy 624 (uint32), torch 5056 (uint8), CUDA 16 (uint8) a device.
    ``devices=False`` leaves out those of accelerators, which no data loading draws from.
    """
    version, keys, gauss = random.getstate()
    kind, state, position, has_gauss, cached = np.random.get_state(legacy=True)
    states: dict[str, Any] = {
        "python": {"version": version, "keys": np.array(keys, np.uint32), "gauss": gauss},
        "numpy": {
            "kind": kind,
            "keys": state,
            "position": position,
            "has_gauss": has_gauss,
            "cached": cached,
        },
        "torch": torch.get_rng_state(),
    }
    if devices and torch.cuda.is_available():
        states["cuda"] = {str(i): s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore(states: dict[str, Any]) -> None:
    """Set every global generator to a captured state."""
    python, numpy = states["python"], states["numpy"]
    keys = tuple(int(key) for key in python["keys"])
    random.setstate((python["version"], keys, python["gauss"]))
    np.random.set_state(
        (
            numpy["kind"],
            np.asarray(numpy["keys"], np.uint32),
            numpy["position"],
            numpy["has_gauss"],
            numpy["cached"],
        )
    )
    torch.set_rng_state(states["torch"])
    for index, state in states.get("cuda", {}).items():
        if int(index) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(index))


@contextmanager
def preserved() -> Iterator[None]:
    """Restore every generator after the block to its state before it."""
    before = capture()
    try:
        yield
    finally:
        restore(before)


def seed(*key: int) -> None:
    """Give every host generator a state that depends only on ``key``.

    Accelerators' generators stay as they are, unlike with ``torch.manual_seed``.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    random.seed(digest)
    np.random.seed(int.from_bytes(digest[:4], "little"))
    torch.default_generator.manual_seed(int.from_bytes(digest[8:], "little", signed=True))


def seed_all(seed: int) -> None:
    """Seed the generators of python, numpy and torch, with those of every accelerator."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
