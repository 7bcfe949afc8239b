"""What paired differences show: an effect, its interval, and a verdict.

The interval is Student's t of the mean of paired differences (Student 1908, Biometrika 6), at the
level of the look (see `looks`), wider by the floor: what differs although nothing was changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from branchtrack.core.trials.looks import FEWEST

HELPS, HURTS, NONE, INCONCLUSIVE = "helps", "hurts", "none", "inconclusive"
#: What is said of a change that is not judged yet.
PENDING = "pending"
#: As people read them.
WORDS = {
    HELPS: "helps",
    HURTS: "hurts",
    NONE: "no effect shown",
    INCONCLUSIVE: "inconclusive",
}
#: The margin of a trial that was given none, as a share of the mean of its controls.
SHARE = 1e-3
_MOST_REPEATS = 10_000


@dataclass(frozen=True)
class Difference:
    """One pair: the metric without the change and with it; None where it is no finite number.

    ``same_bits``: both ended in the same state.
    """

    control: float | None
    changed: float | None
    same_bits: bool = False

    @property
    def value(self) -> float | None:
        """The metric with the change less that without it."""
        if self.control is None or self.changed is None:
            return None
        return self.changed - self.control


@dataclass(frozen=True)
class Verdict:
    """What the pairs of a change show, in the unit of the metric.

    ``effect`` is the mean of changed less control, with its interval ``low`` to ``high`` (None
    where the pairs allow none) at the two-sided ``level``, and its standard error ``error``.
    ``pairs`` are those that were judged, diverged ones too. ``more``: how many repeats more would
    presumably settle it, None if that is not known. ``why`` says what else was decisive.
    """

    verdict: str
    effect: float | None
    low: float | None
    high: float | None
    error: float | None
    margin: float
    floor: float
    pairs: int
    diverged: int = 0
    more: int | None = None
    why: str = ""
    level: float = 0.05

    @property
    def is_settled(self) -> bool:
        """Whether further pairs are not needed."""
        return self.verdict != INCONCLUSIVE

    @property
    def words(self) -> str:
        """The verdict as people read it."""
        return WORDS[self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def judge(
    pairs: Sequence[Difference],
    level: float,
    *,
    higher_is_better: bool,
    margin: float | None = None,
    floor: float = 0.0,
) -> Verdict:
    """Return what pairs of independent repeats show at a two-sided ``level``.

    ``margin`` is the largest effect that does not matter; None: 0.1 % of the mean of the controls.
    ``floor`` is the difference that pairs have at the same seed although nothing was changed.
    """
    import numpy as np

    known = [pair for pair in pairs if pair.value is not None]
    limit = _margin(pairs) if margin is None else margin
    facts: dict[str, Any] = {
        "level": level,
        "margin": limit,
        "floor": floor,
        "pairs": len(pairs),
    }
    if (diverged := _diverged(pairs)) is not None:
        return Verdict(**facts, **diverged)
    values = np.array([pair.value for pair in known], dtype=float)
    if known and all(pair.same_bits for pair in known):
        facts |= {"effect": 0.0, "low": -floor, "high": floor, "error": 0.0}
        return Verdict(NONE, why="the same bits with the change and without it", **facts)
    with np.errstate(all="ignore"):
        effect = float(values.mean()) if values.size else None
        spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    if effect is not None and not math.isfinite(effect + quantile(1, level) * spread + limit):
        why = "the values are too large for an interval"
        return Verdict(INCONCLUSIVE, None, None, None, None, why=why, **{**facts, "margin": 0.0})
    if values.size < FEWEST:
        why = f"a verdict needs {FEWEST} pairs or more"
        if pairs and not known:
            why = "every pair diverged on both sides"
        return Verdict(INCONCLUSIVE, effect, None, None, None, why=why, **facts)
    if spread <= 1e-12 * max(1e-30, float(np.abs(values).max())):
        why = "all differences are the same, so that they have no interval"
        return Verdict(INCONCLUSIVE, effect, None, None, None, why=why, **facts)
    error = spread / math.sqrt(values.size)
    reach = quantile(values.size - 1, level) * error + floor
    assert effect is not None
    low, high = effect - reach, effect + reach
    verdict = _verdict(low, high, limit, higher_is_better)
    more = None
    if verdict == INCONCLUSIVE:
        more = _more(effect, spread, values.size, level, limit, floor)
    return Verdict(verdict, effect, low, high, error, more=more, **facts)


def quantile(freedom: int, level: float) -> float:
    """Return how many standard errors an interval reaches to each side, by Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - level / 2))


def _margin(pairs: Sequence[Difference]) -> float:
    import numpy as np

    controls = [pair.control for pair in pairs if pair.control is not None]
    with np.errstate(all="ignore"):
        return SHARE * abs(float(np.mean(controls))) if controls else 0.0


def _verdict(low: float, high: float, margin: float, higher_is_better: bool) -> str:
    if -margin <= low and high <= margin:
        return NONE
    if low <= 0 <= high:
        return INCONCLUSIVE
    return HELPS if (low > 0) == higher_is_better else HURTS


def _diverged(pairs: Sequence[Difference]) -> dict[str, Any] | None:
    """Return the verdict on pairs of which one side alone diverged in most; None for others."""
    worse = sum(pair.changed is None and pair.control is not None for pair in pairs)
    better = sum(pair.control is None and pair.changed is not None for pair in pairs)
    count = max(worse, better)
    if count == 0:
        return None
    facts: dict[str, Any] = {"effect": None, "low": None, "high": None, "error": None}
    facts["diverged"] = count
    side = "with" if worse >= better else "without"
    is_clear = min(worse, better) == 0 and count >= FEWEST and 2 * count > len(pairs)
    facts["why"] = f"{count} of {len(pairs)} pairs diverged {side} the change alone"
    facts["verdict"] = (HURTS if worse else HELPS) if is_clear else INCONCLUSIVE
    return facts


def _more(
    effect: float, spread: float, count: int, level: float, margin: float, floor: float
) -> int | None:
    """Return how many pairs more would settle it if effect and spread are what they seem."""
    reach = max(abs(effect), margin - abs(effect)) - floor
    if reach <= 0:
        return None
    low, high = count + 1, _MOST_REPEATS
    if quantile(high - 1, level) * spread / math.sqrt(high) > reach:
        return None
    while low < high:
        middle = (low + high) // 2
        if quantile(middle - 1, level) * spread / math.sqrt(middle) <= reach:
            high = middle
        else:
            low = middle + 1
    return low - count
