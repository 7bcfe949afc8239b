"""A pass over an iterable dataset is read again as it was, whatever training draws meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.data.iterable import Streamed


class Noise(IterableDataset[torch.Tensor]):
    """Items of the process's own noise; ``draws`` from it are one for each item."""

    name = "noise"

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at = fails_at

    def __iter__(self) -> Iterator[torch.Tensor]:
        for index in range(6):
            if index == self.fails_at:
                raise RuntimeError("no more rows")
            yield torch.rand(())


def stream(size: int = 2, dataset: Noise | None = None) -> tuple[Streamed, DataLoader[Any]]:
    """A stream in place of its loader's dataset, as `tracking` puts it there."""
    source = DataLoader(dataset or Noise(), batch_size=size)
    settings: Any = SimpleNamespace(declared=())
    streamed = Streamed(source, settings)
    return streamed, DataLoader(streamed, batch_size=size, collate_fn=source.collate_fn)


def read(loader: DataLoader[Any], *, disturb: bool = False) -> list[list[float]]:
    batches = []
    for batch in loader:
        batches.append(batch.tolist())
        if disturb:
            torch.rand(3)
    return batches


@pytest.fixture(autouse=True)
def _preserved() -> Iterator[None]:
    with rng.preserved():
        yield


def test_a_pass_does_not_depend_on_what_training_draws() -> None:
    passes = []
    for disturb in (False, True):
        streamed, loader = stream()
        streamed.begin(3, 0, fresh=True)
        passes.append(read(loader, disturb=disturb))
    assert passes[0] == passes[1]


def test_a_pass_leaves_the_generators_of_training_alone() -> None:
    torch.manual_seed(0)
    streamed, loader = stream()
    batches = iter(loader)
    expected = torch.get_rng_state()
    streamed.begin(3, 0, fresh=True)
    next(batches)
    assert torch.equal(torch.get_rng_state(), expected)


def test_another_epoch_and_another_seed_draw_others() -> None:
    passes = []
    for seed, epoch in ((3, 0), (3, 1), (4, 0)):
        streamed, loader = stream()
        streamed.begin(seed, epoch, fresh=True)
        passes.append(str(read(loader)))
    assert len(set(passes)) == 3


def test_a_pass_with_another_batch_size_goes_on_after_its_samples() -> None:
    streamed, loader = stream()
    streamed.begin(3, 0, fresh=True)
    whole = [item for batch in read(loader) for item in batch]
    resumed, loader = stream(size=4)
    assert resumed.resume({"sizes": [(0, 2)], "batches": 1, "samples": 2}) == 0
    resumed.begin(3, 0, fresh=False)
    (batch,) = read(loader)
    assert len(batch) == 4
    assert resumed.sizes == [(0, 2), (2, 4)]
    assert batch != whole[2:], "items of a batch of another size are drawn anew"


def test_a_pass_with_the_same_batch_size_skips_whole_batches() -> None:
    resumed, _loader = stream()
    assert resumed.resume({"sizes": [(0, 2)], "batches": 2, "samples": 4}) == 2


def test_the_batch_size_of_a_pass_that_workers_share_stays() -> None:
    source = DataLoader(Noise(), batch_size=4, num_workers=1)
    settings: Any = SimpleNamespace(declared=())
    streamed = Streamed(source, settings)
    with pytest.raises(InvalidInput, match="several workers"):
        streamed.resume({"sizes": [(0, 2)], "batches": 1, "samples": 2})


def test_reading_outside_of_a_pass_is_as_ever() -> None:
    torch.manual_seed(0)
    expected = [float(item) for item in Noise()]
    streamed, _loader = stream()
    torch.manual_seed(0)
    assert [float(item) for item in streamed] == expected
    assert streamed.name == "noise"


def test_a_dataset_that_fails_gives_the_generators_back() -> None:
    torch.manual_seed(0)
    streamed, loader = stream(dataset=Noise(fails_at=2))
    batches = iter(loader)
    expected = torch.get_rng_state()
    streamed.begin(3, 0, fresh=True)
    next(batches)
    with pytest.raises(RuntimeError, match="no more rows"):
        next(batches)
    assert torch.equal(torch.get_rng_state(), expected)
