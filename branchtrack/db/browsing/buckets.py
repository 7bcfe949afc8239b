"""A curve in buckets: runs of neighbouring points, each as the few numbers that a chart needs.

Values only: nothing here knows SQL or how buckets are stored. Whatever the size of its buckets, a
curve keeps every extreme, every gap and its moving averages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

#: The weights of the moving averages that are offered; 0 is none.
WEIGHTS = (0.6, 0.9, 0.99)
#: What is left of a value in an average is forgotten below this, which no float64 shows.
_FORGOTTEN = 1e-20
#: After so many points.
_REACH = math.ceil(math.log(_FORGOTTEN) / math.log(max(WEIGHTS)))
_POWERS = [weight ** np.arange(_REACH + 1.0) for weight in WEIGHTS]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gaps:
    """Points whose value is NaN or infinite; ``follows``: so is the point right before it."""

    steps: Ints
    values: Floats
    times: Floats
    follows: NDArray[np.bool_]

    def cut(self, after: int, upto: int | None) -> Gaps:
        """Return those with ``after < step <= upto``."""
        window = _window(self.steps, after, upto)
        return Gaps(*(getattr(self, field.name)[window] for field in fields(self)))


@dataclass(frozen=True)
class Buckets:
    """Buckets of a metric's points, in order; arrays of one entry a bucket.

    ``first`` and ``steps`` are the steps of its first and last point. ``low`` and ``high`` are the
    extremes of its finite values with the steps and times of their points; NaN if none is finite.
    ``first_value`` and ``last`` are the values of its first and last point, NaN if not finite,
    ``first_time`` and ``times`` their times. ``count`` finite points and ``broken`` others are in
    it. ``carries`` has a row for each of `WEIGHTS`: what its values ``v`` add to the average at its
    end, the sum of ``(1 - w) * w**(count - 1 - i) * v[i]``.
    """

    first: Ints
    steps: Ints
    low: Floats
    high: Floats
    low_step: Ints
    high_step: Ints
    low_time: Floats
    high_time: Floats
    first_value: Floats
    first_time: Floats
    last: Floats
    times: Floats
    count: Ints
    broken: Ints
    carries: Floats
    gaps: Gaps

    @classmethod
    def of_points(cls, steps: Ints, values: Floats, times: Floats) -> Buckets:
        """Return one bucket for each point; ``steps`` rise strictly."""
        finite = np.isfinite(values)
        is_whole = bool(finite.all())
        numbers = values if is_whole else np.where(finite, values, np.nan)
        weighed = values if is_whole else np.where(finite, values, 0.0)
        carries = np.array([(1.0 - weight) * weighed for weight in WEIGHTS])
        count = finite.astype(np.int64)
        broken = np.flatnonzero(~finite)
        follows = (broken > 0) & ~finite[broken - 1] if broken.size else np.zeros(0, np.bool_)
        gaps = Gaps(steps[broken], values[broken], times[broken], follows)
        extremes = (numbers, numbers, steps, steps, times, times)
        ends = (numbers, times, numbers, times)
        return cls(steps, steps, *extremes, *ends, count, 1 - count, carries, gaps)

    @classmethod
    def grouped(cls, steps: Ints, values: Floats, times: Floats, size: int) -> Buckets:
        """Return buckets of ``size`` points; the last one may have fewer."""
        return cls.of_points(steps, values, times).reduced(np.arange(0, steps.size, size))

    @classmethod
    def empty(cls) -> Buckets:
        """Return no buckets."""
        return cls.of_points(np.empty(0, np.int64), np.empty(0), np.empty(0))

    @classmethod
    def join(cls, parts: Sequence[Buckets]) -> Buckets:
        """Join parts that lie one after the other."""
        parts = [part for part in parts if part.steps.size]
        if len(parts) < 2:
            return parts[0] if parts else cls.empty()
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=-1)
            for name in _ARRAYS
        }
        follows = [part.gaps.follows for part in parts]
        for place, (before, part) in enumerate(zip(parts, parts[1:], strict=False), 1):
            if part.gaps.steps.size and part.gaps.steps[0] == part.first[0]:
                follows[place] = follows[place].copy()
                follows[place][0] = np.isnan(before.last[-1])
        gaps = {
            name: np.concatenate([getattr(part.gaps, name) for part in parts]) for name in _OF_GAPS
        }
        return cls(**arrays, gaps=Gaps(**gaps, follows=np.concatenate(follows)))

    @property
    def are_points(self) -> bool:
        """Return whether every bucket is one point."""
        return bool(np.array_equal(self.first, self.steps))

    def cut(self, after: int, upto: int | None) -> Buckets:
        """Return the buckets whose last step is in ``after < step <= upto``."""
        window = _window(self.steps, after, upto)
        arrays = {name: getattr(self, name)[..., window] for name in _ARRAYS}
        return Buckets(**arrays, gaps=self.gaps.cut(after, upto))

    def where(self, mask: NDArray[np.bool_]) -> Buckets:
        """Return the buckets that a mask has, and all gaps."""
        if mask.all():
            return self
        arrays = {name: getattr(self, name)[..., mask] for name in _ARRAYS}
        return Buckets(**arrays, gaps=self.gaps)

    def newest(self, limit: int) -> Buckets:
        """Return the last ``limit`` buckets."""
        if self.steps.size <= limit:
            return self
        return self.cut(int(self.steps[-limit - 1]), None)

    def values(self) -> Floats:
        """Return the last value of each bucket, infinite ones as they are."""
        values = self.last.copy()
        places = np.searchsorted(self.steps, self.gaps.steps)
        at_end = self.steps[places] == self.gaps.steps
        values[places[at_end]] = self.gaps.values[at_end]
        return values

    def smooth(self, weight: float) -> Floats:
        """Return the moving average at the end of each bucket, or with weight 0 its last value.

        It is debiased as `analysis.downsample.smooth_at` has it, and NaN for a bucket without
        finite values. All weights but 0 and `WEIGHTS` are refused with a ValueError.
        """
        if weight == 0:
            return self.last
        decay, mean = weight**self.count, self.carries[WEIGHTS.index(weight)].copy()
        # Each round doubles how far back the mean and the decay of an entry reach.
        reach = 1
        while reach < mean.size and decay[reach:].max() > _FORGOTTEN:
            mean[reach:] += decay[reach:] * mean[:-reach]
            decay[reach:] *= decay[:-reach].copy()
            reach *= 2
        norm = 1.0 - weight ** np.cumsum(self.count)
        smooth = np.full(mean.size, np.nan)
        np.divide(mean, norm, out=smooth, where=self.count > 0)
        return smooth

    def merged(self, limit: int) -> Buckets:
        """Return at most so many buckets, each of about as many steps."""
        if self.steps.size <= limit:
            return self
        span = float(self.steps[-1] - self.steps[0]) + 1.0
        bins = ((self.steps - self.steps[0]) / span * limit).astype(np.int64)
        return self.reduced(np.flatnonzero(np.diff(bins, prepend=-1)))

    def reduced(self, starts: Ints) -> Buckets:
        """Return fewer buckets, each of the ones from a start up to the next start."""
        if not starts.size:
            return self
        ends = np.append(starts[1:], self.steps.size) - 1
        group = np.repeat(np.arange(starts.size), ends - starts + 1)
        low, high = np.fmin.reduceat(self.low, starts), np.fmax.reduceat(self.high, starts)
        lowest = _first_of(self.low == low[group], group, starts)
        highest = _first_of(self.high == high[group], group, starts)
        totals = np.cumsum(self.count)
        after = np.minimum(totals[ends][group] - totals, _REACH)
        carries = [
            np.add.reduceat(row * powers[after], starts)
            for powers, row in zip(_POWERS, self.carries, strict=True)
        ]
        return Buckets(
            self.first[starts],
            self.steps[ends],
            low,
            high,
            *(self.low_step[lowest], self.high_step[highest]),
            *(self.low_time[lowest], self.high_time[highest]),
            *(self.first_value[starts], self.first_time[starts]),
            *(self.last[ends], self.times[ends]),
            np.add.reduceat(self.count, starts),
            np.add.reduceat(self.broken, starts),
            np.array(carries),
            self.gaps,
        )


_ARRAYS = tuple(field.name for field in fields(Buckets) if field.name != "gaps")
_OF_GAPS = tuple(field.name for field in fields(Gaps) if field.name != "follows")


def _window(steps: Ints, after: int, upto: int | None) -> slice:
    first = int(np.searchsorted(steps, after, side="right"))
    last = None if upto is None else int(np.searchsorted(steps, upto, side="right"))
    return slice(first, last)


def _first_of(chosen: NDArray[np.bool_], group: Ints, starts: Ints) -> Ints:
    """Return the first chosen entry of each group; of a group without one, its first entry."""
    places = np.flatnonzero(chosen)[::-1]
    first = starts.copy()
    # Of several values for one entry the last that is assigned stays.
    first[group[places]] = places
    return first
