"""Whether a trial that came from elsewhere is one that branchtrack could have written."""

from __future__ import annotations

import math
from typing import Any

from branchtrack.core.trials.judging import WORDS, Verdict
from branchtrack.core.trials.records import (
    DIVERGED,
    DONE,
    KINDS,
    LOST,
    ORDERED,
    STATES,
    Pair,
    Side,
    Spec,
    Trial,
)


def fault(trial: Trial) -> str:
    """Return the column of a trial that is not as it should be; empty if none is.

    The types are taken for checked: this is about counts, ranges and words.
    """
    spec, sides = trial.spec, 1 + len(trial.spec.arms)
    checks = {
        "kind": trial.kind in KINDS,
        "state": trial.state in STATES,
        "spec": _is_plan(spec),
        "pairs": all(_is_pair(pair, sides) for pair in trial.pairs),
        "verdicts": len(trial.verdicts) == len(spec.arms)
        and all(v is None or _is_verdict(v) for v in trial.verdicts),
    }
    return next((column for column, is_right in checks.items() if not is_right), "")


def _is_plan(spec: Spec) -> bool:
    counts = (spec.steps, spec.repeats, *spec.at)
    return (
        bool(spec.nodes and spec.arms and spec.at)
        and len(spec.at) == len(spec.levels)
        and all(count >= 1 for count in counts)
        and list(spec.at) == sorted(set(spec.at))
        and spec.at[-1] <= spec.repeats
        and all(0 < level < 1 for level in spec.levels)
        and all(map(_is_size, (spec.floor, spec.margin)))
    )


def _is_pair(pair: Pair, sides: int) -> bool:
    return len(pair.sides) == sides and all(side is None or _is_side(side) for side in pair.sides)


def _is_side(side: Side) -> bool:
    if side.state == DONE:
        return side.value is not None and math.isfinite(side.value)
    return side.state in (ORDERED, DIVERGED, LOST) and side.value is None


def _is_verdict(verdict: Verdict) -> bool:
    numbers: tuple[Any, ...] = (verdict.effect, verdict.low, verdict.high, verdict.error)
    return (
        verdict.verdict in WORDS
        and all(number is None or math.isfinite(number) for number in numbers)
        and (verdict.low is None) == (verdict.high is None)
        and (verdict.low is None or verdict.effect is not None)
        and 0 < verdict.level < 1
        and all(map(_is_size, (verdict.margin, verdict.floor)))
    )


def _is_size(value: float | None) -> bool:
    return value is None or (math.isfinite(value) and value >= 0)
