"""Map datasets read by workers: each batch is fetched under generators seeded by its key."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from branchtrack.training import rng
from branchtrack.training.generators import Generators


class Batch(list[Any]):
    """The indices of a batch, with the key that its fetching is seeded by."""

    key: tuple[int, ...] = ()


class Keyed(Dataset[Any]):
    """A map dataset in a worker; ``collate`` is what the worker makes batches with."""

    def __init__(self, dataset: Any, collate: Any) -> None:
        self.dataset = dataset
        self._own = Generators(dataset=dataset, collate=collate)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]

    def __getitems__(self, batch: list[Any]) -> list[Any]:
        """As torch's fetcher has it: the samples of a batch."""
        if isinstance(batch, Batch):
            rng.seed(*batch.key)
            self._own.seed(*batch.key)
        whole = getattr(self.dataset, "__getitems__", None)
        found: list[Any] = whole(batch) if whole else [self.dataset[index] for index in batch]
        return found

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)
