"""Which item of which shard is drawn at a position: a function of seed, composition and position.

Shards are drawn independently at each position, by weight. Within a shard items come in the order
of a permutation; another begins once all have been drawn. Philox counts, so any block of positions
can be drawn without those before it, except for how often each shard was drawn in them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branchtrack.core.shards.composition import Composition

#: Positions that are drawn together.
BLOCK = 1 << 16
#: Blocks that are kept, and permutations beside two of each shard.
KEPT_BLOCKS = 16


class Draws:
    """The draws of one composition with one seed, as they are asked for."""

    def __init__(self, seed: int, composition: Composition) -> None:
        self._seed, self._shards = seed, composition.shards
        shares = np.cumsum([shard.effective_weight for shard in self._shards])
        self._bounds = shares / shares[-1]
        #: How often each shard was drawn before each block.
        self._before: list[NDArray[np.int64]] = [np.zeros(len(self._shards), np.int64)]
        self._blocks: OrderedDict[Any, tuple[NDArray[Any], ...]] = OrderedDict()
        self._orders: OrderedDict[Any, tuple[NDArray[Any], ...]] = OrderedDict()

    def pick(self, position: int) -> tuple[int, int]:
        """Return the number of the shard drawn at ``position``, and the number of the item."""
        block, offset = divmod(position, BLOCK)
        if block not in self._blocks:
            _keep(self._blocks, block, self._drawn(block), KEPT_BLOCKS)
        numbers, counts = self._blocks[block]
        number = int(numbers[offset])
        cycle, index = divmod(int(counts[offset]), self._shards[number].count)
        if (number, cycle) not in self._orders:
            most = 2 * len(self._shards) + KEPT_BLOCKS
            _keep(self._orders, (number, cycle), (self._permutation(number, cycle),), most)
        return number, int(self._orders[number, cycle][0][index])

    def _drawn(self, block: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return for each position of a block its shard, and how often that was drawn before."""
        while len(self._before) <= block:
            numbers = self._numbers(len(self._before) - 1)
            counts = np.bincount(numbers, minlength=len(self._shards))
            self._before.append(self._before[-1] + counts)
        numbers, before = self._numbers(block), self._before[block]
        counts = np.empty(BLOCK, np.int64)
        for number in np.unique(numbers):
            positions = np.flatnonzero(numbers == number)
            counts[positions] = before[number] + np.arange(len(positions))
        return numbers, counts

    def _numbers(self, block: int) -> NDArray[np.intp]:
        drawn = _generator(self._seed, 0, block).random(BLOCK)
        return np.searchsorted(self._bounds, drawn, side="right")

    def _permutation(self, number: int, cycle: int) -> NDArray[np.int64]:
        # By its content, so that it stays the same whatever other shards there are.
        content = int(self._shards[number].fingerprint[:16], 16)
        return _generator(self._seed, 1, content, cycle).permutation(self._shards[number].count)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def _keep(
    kept: OrderedDict[Any, tuple[NDArray[Any], ...]], key: Any, arrays: Any, most: int
) -> None:
    kept[key] = arrays
    if len(kept) > most:
        kept.popitem(last=False)
