"""Every global generator goes out and comes back, through the store too."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from branchtrack.checkpoints.tensors import decode, encode
from branchtrack.training import rng


def draw() -> tuple[float, ...]:
    """Numbers from every generator, normal ones too: these keep a second one in reserve."""
    return (
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.randn()),
        float(torch.rand(1)),
        float(torch.randn(1)),
    )


@pytest.mark.parametrize("warm", [0, 1, 700])
def test_what_is_drawn_after_a_restore_is_what_was_drawn_before(warm: int) -> None:
    for _ in range(warm):
        draw()
    found = rng.capture()
    first = [draw() for _ in range(3)]
    rng.restore(found)
    assert [draw() for _ in range(3)] == first


def test_a_normal_number_held_in_reserve_is_part_of_the_state() -> None:
    random.gauss(0, 1)
    np.random.randn()
    found = rng.capture()
    first = draw()
    draw()
    rng.restore(found)
    assert draw() == first


def test_the_state_survives_the_store() -> None:
    tensors: dict[str, torch.Tensor] = {}
    coded = encode(rng.capture(), "rng", tensors)
    first = draw()
    rng.restore(decode(coded, {name: tensor.clone() for name, tensor in tensors.items()}))
    assert draw() == first
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        "rng/python/keys": (625,),
        "rng/numpy/keys": (624,),
        "rng/torch": (5056,),
    }


def test_what_happens_within_preserved_leaves_no_trace() -> None:
    found = rng.capture()
    first = draw()
    rng.restore(found)
    with rng.preserved():
        draw()
    assert draw() == first


def test_preserved_restores_after_an_error_too() -> None:
    found = rng.capture()
    first = draw()
    rng.restore(found)
    with pytest.raises(ValueError), rng.preserved():  # noqa: PT011
        draw()
        raise ValueError
    assert draw() == first
