"""What the pairs of a trial show so far, change by change."""

from __future__ import annotations

from collections.abc import Sequence

from branchtrack.core.trials.judging import HELPS, HURTS, INCONCLUSIVE, NONE, Verdict, judge
from branchtrack.core.trials.records import Pair, Trial, differences


def judged(trial: Trial, pairs: Sequence[Pair]) -> list[Verdict]:
    """Return what pairs show of each change of a trial; a verdict that there is stays."""
    spec = trial.spec
    return [
        verdict
        if verdict is not None
        else judge(
            differences(pairs, arm),
            spec.level(len(pairs)),
            higher_is_better=spec.higher_is_better,
            margin=spec.margin,
            floor=spec.floor,
        )
        for arm, verdict in enumerate(trial.verdicts)
    ]


def summary(verdicts: Sequence[str]) -> dict[str, int]:
    """Return how many verdicts there are of each kind: ``helped hurt none inconclusive``."""
    words = {"helped": HELPS, "hurt": HURTS, "none": NONE, "inconclusive": INCONCLUSIVE}
    return {word: sum(verdict == kind for verdict in verdicts) for word, kind in words.items()}
