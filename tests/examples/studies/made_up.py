"""A study that trains nothing, and outcomes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.study import ANY_CASE, Arm, Study


def outcome(arm: str, case: str, seed: int, loss: float = 2.0, **facts: Any) -> Outcome:
    """An outcome whose curve falls to its loss, and is no number at its end if that is none."""
    curve = [(0.0, 5.0), (10.0, 3.0 + seed / 10), (20.0, loss)]
    values = {"steps": 20, "seconds": 4.0, "interventions": 1, "tokens": 100, "curve": curve}
    run = f"{arm}-{seed}/main"
    return Outcome(arm, case, seed, loss, **{**values, "run": run, "runs": [run], **facts})


def study(arms: Sequence[Arm] = ()) -> Study:
    """A study of two arms, the second of which is the same in every case."""

    def train(_laboratory: Any, case: str, seed: int) -> Outcome:
        return outcome("nothing", case, seed)

    both = (Arm("nothing", "it stays", train), Arm("tuned", "it is searched", train, False))
    return Study("made-up", "Made up", "Does it work?", arms or both, plan, (1, 2))


def plan(quick: bool = False, seeds: int | None = None) -> Plan:
    """Two cases and two seeds."""
    return Plan({"low": 0.1, "high": 1.0}, range(seeds or 2), 20, 10, quick)


def outcomes() -> list[Outcome]:
    """All of them; one has diverged."""
    return [
        outcome("nothing", "low", 0, 2.0),
        outcome("nothing", "low", 1, 2.2),
        outcome("nothing", "high", 0, math.nan),
        outcome("nothing", "high", 1, 3.0),
        outcome("tuned", ANY_CASE, 0, 1.5),
        outcome("tuned", ANY_CASE, 1, 1.7),
    ]
