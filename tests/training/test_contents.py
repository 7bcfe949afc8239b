"""The content of a value: equal for equal ones, another for anything that differs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from branchtrack.training import contents


@dataclass
class Pair:
    """Two values."""

    x: Any
    y: Any


def digest(value: Any) -> str:
    fed = hashlib.sha256()
    contents.feed(fed, value)
    return fed.hexdigest()


def test_equal_values_have_equal_content() -> None:
    for value in (
        torch.arange(6).reshape(2, 3),
        np.float32(0.1),
        {"a": [1, "x", None], "b": (b"y", 2.5)},
        Pair(torch.zeros(2), "z"),
    ):
        assert digest(value) == digest(value)


def test_dtype_shape_type_and_order_count() -> None:
    values = [
        torch.zeros(4),
        torch.zeros(2, 2),
        torch.zeros(4, dtype=torch.float64),
        np.zeros(4, np.float32),
        [0.0, 0.0],
        (0.0, 0.0),
        [1, 0],
        [0, 1],
        "0",
        b"0",
        Pair(0, 1),
        Pair(1, 0),
    ]
    assert len({digest(value) for value in values}) == len(values)
