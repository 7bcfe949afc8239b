"""Map datasets whose batches are each fetched under generators seeded by a key, or are tagged."""

from __future__ import annotations

import json
from typing import Any

from torch.utils.data import Dataset

from branchtrack.training import rng
from branchtrack.training.data import workers
from branchtrack.training.data.generators import Generators
from branchtrack.training.settings.batch_tags import Samples
from branchtrack.training.settings.dataset_settings import DataSettings


class Batch(list[Any]):
    """The indices of a batch, with the key that seeds its fetching, if there is one."""

    key: tuple[int, ...] = ()


class Keyed(Dataset[Any]):
    """A map dataset, possibly in a worker; ``collate`` is the collate function used there."""

    def __init__(self, dataset: Any, collate: Any, settings: DataSettings) -> None:
        self.dataset, self._settings = dataset, settings
        self._own = Generators(dataset=dataset, collate=collate)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]

    def __getitems__(self, batch: list[Any]) -> Any:
        """Return the samples of a batch, as torch's fetcher requests them."""
        if isinstance(batch, Batch) and batch.key:
            workers.outlive_signals()
            rng.seed(*batch.key)
            self._own.seed(*batch.key)
        self._settings.shards.take_drawn()
        whole = getattr(self.dataset, "__getitems__", None)
        samples = whole(batch) if whole else [self.dataset[index] for index in batch]
        if not isinstance(batch, Batch) or not self._settings.declared:
            return samples
        tag = {"values": self._settings.values(), "count": len(batch)}
        if drawn := self._settings.shards.take_drawn():
            tag["drawn"] = drawn
        return Samples(samples, json.dumps(tag))

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)
