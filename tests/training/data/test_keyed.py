"""A batch with a key is fetched under generators that the key alone decides."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from branchtrack.training import rng
from branchtrack.training.data.keyed import Batch, Keyed
from branchtrack.training.settings.batch_tags import Samples
from branchtrack.training.settings.shard_datasets import ShardDatasets


class Noisy:
    """Rows with noise of the process's and of a generator of their own."""

    name = "noisy"

    def __init__(self) -> None:
        self.generator = random.Random()

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[int, float, float]:
        return index, float(torch.rand(())), self.generator.random()


def keyed(declared: bool = False, dataset: Any = None) -> Keyed:
    settings: Any = SimpleNamespace(
        declared=declared, values=lambda: {"noise": 0.5}, shards=ShardDatasets(())
    )
    return Keyed(dataset or Noisy(), None, settings)


def fetch(rows: Keyed, *key: int) -> Any:
    batch = Batch([0, 2])
    batch.key = key
    with rng.preserved():
        return rows.__getitems__(batch)


def test_the_same_key_gives_the_same_samples_whatever_was_drawn_before() -> None:
    rows, other = keyed(), keyed()
    first = fetch(rows, 1, 2, 3)
    rows[0]
    assert fetch(rows, 1, 2, 3) == fetch(other, 1, 2, 3) == first
    assert fetch(rows, 1, 2, 4) != first


def test_a_batch_without_a_key_draws_as_ever() -> None:
    with rng.preserved():
        torch.manual_seed(0)
        expected = float(torch.rand(()))
        torch.manual_seed(0)
        assert keyed().__getitems__([1])[0][1] == expected


def test_only_batches_of_the_pass_carry_the_settings_that_were_declared() -> None:
    rows = keyed(declared=True)
    samples = fetch(rows)
    assert isinstance(samples, Samples) and len(samples.samples) == 2
    assert json.loads(samples.tag) == {"values": {"noise": 0.5}, "count": 2}
    assert isinstance(rows.__getitems__([0]), list)
    assert isinstance(fetch(keyed()), list)


def test_a_dataset_that_fetches_batches_by_itself_does_so() -> None:
    class Whole(Noisy):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [10 * index for index in indices]

    assert fetch(keyed(dataset=Whole())) == [0, 20]


def test_it_has_what_its_dataset_has() -> None:
    rows = keyed()
    assert len(rows) == 4 and rows.name == "noisy" and rows[3][0] == 3
    with pytest.raises(AttributeError):
        rows.nothing  # noqa: B018
