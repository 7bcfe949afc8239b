"""What trials say of values that are already there, and how that compares with the truth.

It trains nothing: values come from `trial_tasks`, verdicts from the product's own `core/trials`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from branchtrack.core.trials.judging import HELPS, HURTS, INCONCLUSIVE, NONE, Verdict, quantile
from branchtrack.core.trials.looks import levels, looks
from branchtrack.core.trials.outcomes import judged
from branchtrack.core.trials.records import DIVERGED, DONE, Arm, Pair, Side, Spec
from tests.benchmarks.trial_tasks import METRIC, End
from tests.core.trials import made_up

ERROR = 0.05
#: How a verdict and the truth stand to each other.
AGREES, CONTRADICTS, UNKNOWN, OPEN = "agrees", "contradicts", "not known", "no verdict"
STANDS = (AGREES, CONTRADICTS, UNKNOWN, OPEN)


@dataclass(frozen=True)
class Rate:
    """``count`` of ``all``, as a share with its exact 95 % interval (Clopper and Pearson)."""

    count: int
    all: int

    @property
    def share(self) -> float:
        """The share; 0 of none."""
        return self.count / self.all if self.all else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The lowest and the highest share that the count is not surprising of."""
        from scipy.special import betaincinv

        rest = self.all - self.count
        low = float(betaincinv(self.count, rest + 1, 0.025)) if self.count else 0.0
        high = float(betaincinv(self.count + 1, rest, 0.975)) if rest else 1.0
        return low, high


@dataclass(frozen=True)
class Truth:
    """The mean difference of independent pairs, its 95 % interval, and their spread."""

    effect: float
    low: float
    high: float
    spread: float
    pairs: int
    diverged: int = 0


@dataclass(frozen=True)
class Runs:
    """The spread of one pair's difference, by what the sides of a pair share.

    ``independent``: nothing; ``unpaired``: the node; ``paired``: the node and what is drawn after.
    """

    independent: float
    unpaired: float
    paired: float

    @property
    def ratio(self) -> float:
        """How many times fewer pairs are needed for the same certainty than independent ones."""
        return (self.independent / self.paired) ** 2 if self.paired else math.inf


def conduct(
    rows: Sequence[Sequence[End]], labels: Sequence[str], *, margin: float | None = None
) -> list[Verdict]:
    """Return the verdicts of a trial whose pairs end so: control first, then each change.

    It has as many repeats as there are rows, is judged at its looks, and ends as trials do.
    """
    at, arms = looks(len(rows)), tuple(Arm(label) for label in labels)
    spec = Spec(
        nodes=("node",),
        arms=arms,
        metric=METRIC,
        steps=1,
        repeats=len(rows),
        at=at,
        levels=levels(at, ERROR / len(arms)),
        margin=margin,
    )
    pairs = [_pair(number, row) for number, row in enumerate(rows, 1)]
    trial = made_up.trial(spec, pairs=())
    for count in at:
        verdicts = judged(trial, pairs[:count])
        if count == at[-1] or all(verdict.is_settled for verdict in verdicts):
            break
        settled = tuple(verdict if verdict.is_settled else None for verdict in verdicts)
        trial = replace(trial, verdicts=settled)
    return verdicts


def _pair(number: int, row: Sequence[End]) -> Pair:
    sides = [
        Side("", "", "", DONE if end.value is not None else DIVERGED, end.value, end.digest)
        for end in row
    ]
    return Pair(number, "node", 0, number, tuple(sides))


def is_false(verdict: Verdict) -> bool:
    """Return whether a verdict on a change of nothing is wrong."""
    return verdict.verdict in (HELPS, HURTS)


def truth_of(controls: Sequence[float | None], changed: Sequence[float | None]) -> Truth:
    """Return what independent trainings show, the n-th without the change with the n-th with it."""
    pairs = list(zip(controls, changed, strict=True))
    values = np.array([b - a for a, b in pairs if a is not None and b is not None])
    spread = float(values.std(ddof=1))
    reach = quantile(values.size - 1, 0.05) * spread / math.sqrt(values.size)
    effect = float(values.mean())
    missing = len(pairs) - values.size
    return Truth(effect, effect - reach, effect + reach, spread, values.size, missing)


def runs_needed(
    independent: Truth, controls: Sequence[float | None], changed: Sequence[float | None]
) -> Runs:
    """Return the spreads, the last two from forks of one node, the n-th of both with one seed."""
    pairs = [(a, b) for a, b in zip(controls, changed, strict=True) if None not in (a, b)]
    first, second = np.array(pairs, dtype=float).T
    unpaired = math.sqrt(first.var(ddof=1) + second.var(ddof=1))
    return Runs(independent.spread, unpaired, float((second - first).std(ddof=1)))


def agreement(verdict: Verdict, truth: Truth) -> str:
    """Return how a verdict stands to the truth, lower values being better."""
    if verdict.verdict == INCONCLUSIVE:
        return OPEN
    if verdict.verdict == NONE:
        if truth.low > verdict.margin or truth.high < -verdict.margin:
            return CONTRADICTS
        return AGREES
    if truth.low <= 0 <= truth.high:
        return UNKNOWN
    return AGREES if (truth.high < 0) == (verdict.verdict == HELPS) else CONTRADICTS
