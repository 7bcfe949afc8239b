"""A dataset that draws from several, by weights that can be changed while a training reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset

from branchtrack.core.builtin_settings import DATA
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput
from branchtrack.training.data.arguments import check_length, check_seed, check_weights
from branchtrack.training.settings.dataset_settings import DRAWS_ITEMS, EFFECT, MARK, PREFIX

_MOST = 1e9


def mixture(
    datasets: Mapping[str, Any],
    weights: Mapping[str, float] | None = None,
    length: int | None = None,
    seed: int = 0,
) -> Mixture:
    """Return a map dataset with the items of ``datasets``, in the proportions of ``weights``.

        train = branchtrack.mixture({"code": code, "prose": prose}, {"code": 1, "prose": 3})

    The weights are settings ``data.mixture.NAME``; they need not sum to 1. Without any, they are
    the lengths of the datasets. ``length`` is the number of items of a pass; by default, that of
    all datasets together.

    Item i depends only on (``seed``, i) and the current weights. While these stay the same, no item
    of a source repeats before each has been drawn once; a change of weights restarts this. Every
    pass has the same items: to see others, pass a ``length`` that lasts for the whole training.

    Raises:
        InvalidInput: naming the argument that cannot be used, and what is allowed.
    """
    return Mixture(datasets, weights, length, seed)


class Mixture(Dataset[Any]):
    """See `mixture`. ``weights`` are by name; ``datasets`` the sources."""

    def __init__(
        self,
        datasets: Mapping[str, Any],
        weights: Mapping[str, float] | None,
        length: int | None,
        seed: int,
    ) -> None:
        self.datasets = dict(datasets)
        for name, dataset in self.datasets.items():
            _check_source(name, dataset)
        if not self.datasets:
            raise InvalidInput("datasets", {}, "one dataset or more, by name")
        check_length(length)
        check_seed(seed)
        sizes = {name: len(dataset) for name, dataset in self.datasets.items()}
        self.length, self.seed = length or sum(sizes.values()), seed
        declared = {f"mixture.{name}": _setting(name) for name in self.datasets}
        setattr(self, MARK, declared)
        setattr(self, DRAWS_ITEMS, True)
        initial = sizes if weights is None else weights
        check_weights(initial, sizes)
        self._weights: dict[str, float] = {}
        self._plan: tuple[NDArray[np.intp], NDArray[np.int64]] | None = None
        self.write_settings(
            {
                attribute: declaration.validate(initial[attribute.partition(".")[2]])
                for attribute, declaration in declared.items()
            }
        )

    @property
    def weights(self) -> dict[str, float]:
        """The current weights, by name of the source."""
        return dict(self._weights)

    def read_setting(self, attribute: str) -> float:
        """Return the current weight of ``mixture.NAME``."""
        return self._weights[attribute.partition(".")[2]]

    def write_settings(self, values: Mapping[str, float]) -> None:
        """Set weights by ``mixture.NAME``, all or none.

        Raises:
            InvalidInput: none of them would be greater than 0.
        """
        weights = {**self._weights, **{n.partition(".")[2]: value for n, value in values.items()}}
        if not any(weights.values()):
            raise InvalidInput(
                "data.mixture",
                weights,
                "weights of which at least one is greater than 0",
                what="A mixture whose weights are all 0 has nothing to draw from.",
            )
        self._weights, self._plan = weights, None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        position = index + self.length if index < 0 else index
        if not 0 <= position < self.length:
            raise IndexError(index)
        source, item = self.pick(position)
        return self.datasets[source][item]

    def pick(self, index: int) -> tuple[str, int]:
        """Return the source of item ``index`` by the current weights, and the index within it."""
        if self._plan is None:
            self._plan = self._planned()
        sources, items = self._plan
        return list(self.datasets)[sources[index]], int(items[index])

    def __getstate__(self) -> dict[str, Any]:
        # A worker that receives a copy computes its own plan, which is the same.
        return {**self.__dict__, "_plan": None}

    def _planned(self) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return the number of each item's source and its index there; shapes (length,)."""
        shares = np.cumsum([self._weights[name] for name in self.datasets])
        drawn = _generator(self.seed, 0).random(self.length)
        sources = np.searchsorted(shares / shares[-1], drawn, side="right")
        items = np.empty(self.length, np.int64)
        for number, dataset in enumerate(self.datasets.values()):
            positions = np.flatnonzero(sources == number)
            order = _generator(self.seed, number + 1).permutation(len(dataset))
            items[positions] = order[np.arange(len(positions)) % len(dataset)]
        return sources, items


def _check_source(name: str, dataset: Any) -> None:
    if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
        raise InvalidInput("datasets", name, "names of letters, digits, dashes and underscores")
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__") or not len(dataset):
        raise InvalidInput(
            f"datasets[{name!r}]", type(dataset).__name__, "a map dataset with at least one item"
        )


def _setting(name: str) -> Setting:
    return Setting(
        f"{PREFIX}mixture.{name}",
        minimum=0.0,
        maximum=_MOST,
        effect=EFFECT,
        group=DATA,
        about=f"weight of {name} in the mixture; the weights need not sum to 1",
    )


def _generator(seed: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, purpose])))
