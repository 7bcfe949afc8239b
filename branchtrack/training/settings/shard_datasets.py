"""The datasets of a training whose samples come from shards; see `data.live.dataset.LiveDataset`.

It knows no loader and no session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from branchtrack.core.shards.composition import NO_SHARDS, SETTING
from branchtrack.errors import InvalidInput


class ShardDataset(Protocol):
    """What is used of a `LiveDataset`, which documents it."""

    watched: Path | None

    def connect(self, look_up: Callable[[str], str]) -> None:
        """Have compositions of other processes looked up by the beginning of their digest."""

    def documents(self) -> dict[str, str]:
        """Return the documents of all compositions that this process has seen, by digest."""

    def changed(self, change: Mapping[str, Any]) -> str:
        """Return the value of the setting after a requested change."""

    def normalized(self, value: str) -> str:
        """Return a value of the setting as it is read back."""

    def take_drawn(self) -> dict[str, int]:
        """Return how many items were drawn from each shard since the last call."""

    def prepare(self, path: Path) -> str:
        """Open a file that is about to be added; return its fingerprint."""


class ShardDatasets:
    """Those among the ``owners`` of settings; a training has one, or none."""

    def __init__(self, owners: Iterable[Any]) -> None:
        self.datasets: list[ShardDataset] = []
        for owner in owners:
            if hasattr(owner, "take_drawn") and owner not in self.datasets:
                self.datasets.append(owner)

    def __bool__(self) -> bool:
        return bool(self.datasets)

    def connect(self, look_up: Callable[[str], str]) -> None:
        """Have compositions looked up that this process does not know."""
        for dataset in self.datasets:
            dataset.connect(look_up)

    def documents(self) -> dict[str, str]:
        """Return the documents of all compositions that this process has seen, by digest."""
        return {
            digest: text
            for dataset in self.datasets
            for digest, text in dataset.documents().items()
        }

    def changed(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """Return the setting of the shards as it is after a requested change.

        Raises:
            InvalidInput: the training has no shards, or they cannot be changed so.
        """
        if not self.datasets:
            raise InvalidInput("kind", "data", "the other actions", what=NO_SHARDS)
        return {SETTING: self.datasets[0].changed(change)}

    def normalized(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values of settings as they are read back, those of shards computed.

        Raises:
            InvalidInput: there is no such composition.
        """
        if SETTING not in values or not self.datasets:
            return dict(values)
        return {**values, SETTING: self.datasets[0].normalized(values[SETTING])}

    def take_drawn(self) -> dict[str, int]:
        """Return how many samples this process drew from each shard since the last call."""
        drawn: Counter[str] = Counter()
        for dataset in self.datasets:
            drawn.update(dataset.take_drawn())
        return dict(drawn)
