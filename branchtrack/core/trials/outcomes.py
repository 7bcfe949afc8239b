"""What the pairs of a trial show so far, change by change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from branchtrack.core.formats import plural
from branchtrack.core.trials import looks
from branchtrack.core.trials.judging import (
    HELPS,
    HURTS,
    INCONCLUSIVE,
    NONE,
    PENDING,
    Verdict,
    judge,
)
from branchtrack.core.trials.records import (
    RUNNING,
    SAME,
    SETTLED,
    Pair,
    Trial,
    TrialHead,
    differences,
)

AnyTrial = TypeVar("AnyTrial", bound=TrialHead)


def shown(trial: TrialHead, arm: int) -> Verdict:
    """Return the verdict on a change, counted from 0; before there is one, what the pairs show."""
    settled = trial.verdicts[arm]
    if settled is not None:
        return settled
    return _judged(trial, trial.pairs if isinstance(trial, Trial) else (), arm)


def judged(trial: Trial, pairs: Sequence[Pair]) -> list[Verdict]:
    """Return what pairs show of each change of a trial; a verdict that there is stays."""
    return [
        _judged(trial, pairs, arm) if verdict is None else verdict
        for arm, verdict in enumerate(trial.verdicts)
    ]


def unjudged(trial: Trial, pairs: Sequence[Pair], why: str) -> list[Verdict]:
    """Return the verdicts of a trial that ended before a look: what has none is inconclusive.

    The error of a trial is that of its looks; between them nothing may be concluded.
    """
    return [
        verdict
        if settled is not None
        else replace(verdict, verdict=INCONCLUSIVE, more=None, why=why)
        for verdict, settled in zip(judged(trial, pairs), trial.verdicts, strict=True)
    ]


def standing(trials: Iterable[AnyTrial]) -> dict[str, AnyTrial]:
    """Return the trial whose verdict stands for the change of each node, by the node's id.

    That is the newest one that was settled, else the newest that still trains, else the newest;
    ``trials`` are the oldest first.
    """
    stands: dict[str, AnyTrial] = {}
    rank = {SETTLED: 2, RUNNING: 1}
    for trial in trials:
        if trial.subject is None:
            continue
        other = stands.get(trial.subject)
        if other is None or rank.get(trial.state, 0) >= rank.get(other.state, 0):
            stands[trial.subject] = trial
    return stands


def _judged(trial: TrialHead, pairs: Sequence[Pair], arm: int) -> Verdict:
    spec, distinct = trial.spec, differences(pairs, arm)
    verdict = judge(
        distinct,
        spec.level(len(pairs)),
        higher_is_better=spec.higher_is_better,
        margin=spec.margin,
        floor=spec.floor,
    )
    alike = sum(pair.difference(arm) is not None for pair in pairs) - len(distinct)
    if not verdict.is_settled:
        verdict = _advised(verdict, alike, looks.MOST - spec.repeats)
    if trial.kind != SAME or verdict.verdict == NONE or not verdict.pairs:
        return verdict
    why = "not the same bits at the same seed: the largest difference is the floor of later trials"
    return replace(verdict, verdict=INCONCLUSIVE, more=None, why=why)


def _advised(verdict: Verdict, alike: int, most: int) -> Verdict:
    """Return an inconclusive verdict with what would help if that is not more repeats.

    ``alike`` pairs repeated others to the bit; a trial may have ``most`` repeats more.
    """
    if alike:
        count = plural(alike, "pair repeats", "pairs repeat")
        why = f"{count} another to the bit, for nothing is drawn at random after the node: only "
        why += "pairs from other nodes (--at) would add to it"
        return replace(verdict, more=None, why="; ".join(filter(None, [verdict.why, why])))
    if verdict.more is not None and verdict.more > most:
        why = f"it would take about {verdict.more:,} repeats more, and a trial has {looks.MOST} at"
        return replace(verdict, more=None, why=f"{why} most; more --steps may show more")
    return verdict


def summary(verdicts: Sequence[str]) -> dict[str, int]:
    """Return how many there are of each kind: ``helped hurt none inconclusive pending``."""
    words = {"helped": HELPS, "hurt": HURTS, "none": NONE, "inconclusive": INCONCLUSIVE}
    words["pending"] = PENDING
    return {word: sum(verdict == kind for verdict in verdicts) for word, kind in words.items()}
