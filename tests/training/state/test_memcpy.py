"""Copies and comparisons are exact, whatever the tensors and however many threads share them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from branchtrack.training.state import memcpy


@pytest.fixture(params=[1, 4])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """One thread, and more than there are cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def some() -> list[torch.Tensor]:
    """Tensors smaller and larger than a piece, of all kinds."""
    generator = torch.Generator().manual_seed(0)
    large = torch.randn(3 * memcpy._PIECE // 4 + 5, generator=generator)
    return [
        large,
        torch.randn(7, 3, generator=generator).to(torch.bfloat16),
        torch.empty(0, 3),
        torch.tensor(7.0),
        torch.randn(64, 32, generator=generator).t(),
        large[5:17],
        torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        torch.nn.Parameter(torch.randn(33, generator=generator)),
        torch.tensor([True, False]),
    ]


def copy(targets: list[torch.Tensor], sources: list[torch.Tensor], at_once: int = 100) -> None:
    """Copy so many at once, all in one block."""
    pairs = list(zip(targets, sources, strict=True))
    with memcpy.Copy() as team:
        for place in range(0, len(pairs), at_once):
            team.add(pairs[place : place + at_once])


def empty_like(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.zeros(one.shape, dtype=one.dtype) for one in tensors]


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_every_tensor_is_copied_bit_for_bit(at_once: int) -> None:
    sources = some() * 3
    targets = empty_like(sources)
    copy(targets, sources, at_once)
    assert all(torch.equal(a, b) for a, b in zip(targets, sources, strict=True))
    assert not any(target.requires_grad for target in targets)


@pytest.mark.usefixtures("_threads")
def test_one_bit_anywhere_makes_a_difference() -> None:
    sources = [one for one in some() if memcpy.is_plain(one)] * 2
    targets = empty_like(sources)
    copy(targets, sources)
    pairs = list(zip(targets, sources, strict=True))
    assert memcpy.equal(pairs) == [True] * len(pairs)
    for place, (target, _) in enumerate(pairs):
        if target.numel():
            last = target.reshape(-1).view(torch.uint8)[-1:]
            last.bitwise_xor_(1)
            assert memcpy.equal(pairs) == [at != place for at in range(len(pairs))]
            last.bitwise_xor_(1)


def test_signs_of_zero_differ_and_equal_nans_do_not() -> None:
    nan = torch.tensor([float("nan"), 1.0])
    assert memcpy.equal([(nan, nan.clone())]) == [True]
    assert memcpy.equal([(torch.tensor([0.0]), torch.tensor([-0.0]))]) == [False]


def test_nothing_is_copied_of_nothing() -> None:
    copy([], [])
    assert memcpy.equal([]) == []


@pytest.mark.usefixtures("_threads")
def test_no_thread_is_left_behind_whatever_happens_in_the_block() -> None:
    before = threading.active_count()
    sources = some()
    targets = empty_like(sources)
    with pytest.raises(MemoryError), memcpy.Copy() as team:
        team.add(list(zip(targets, sources, strict=True)))
        raise MemoryError
    assert threading.active_count() == before
