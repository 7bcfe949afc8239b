"""What trials say of the changes that a study's arms made: which of them helped?

One run of each arm in each case is reviewed, by the command that a user would write: its first
changes. What was tried before is not tried again: the verdicts are in the home of the study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from branchtrack.analysis.trials import payloads
from branchtrack.control.trials.review import plan_review
from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.study import Column

_FACT = "review"
#: Pairs of each change at most; each is trained until the second evaluation after it.
_REPEATS, _EVALUATIONS = 6, 2
#: Of each run so many changes are tried, the first ones.
_CHANGES = 6
#: Trainings at a time.
_SLOTS = 2


def reviewed(
    plan: Plan, folder: Path, outcomes: Sequence[Outcome], say: Callable[[int, int], None]
) -> list[Outcome]:
    """Return outcomes with what trials say of the changes of those with the first seed.

    ``say`` gets how many runs are reviewed, and how many are to be.

    Raises:
        LaunchFailed: a review failed; the verdicts that there are stay.
    """
    chosen = list(_chosen(plan, outcomes))
    counts: dict[str, dict[str, Any]] = {}
    laboratory = Laboratory(folder, plan)
    try:
        for number, run in enumerate(chosen):
            say(number, len(chosen))
            counts[run] = _review(laboratory, run)
    finally:
        laboratory.close()
        laboratory.database.close()
    return [
        replace(outcome, facts={**outcome.facts, _FACT: counts[run]}) if run in counts else outcome
        for outcome in outcomes
        for run in [run_of(outcome)]
    ]


def column() -> tuple[str, Column]:
    """Return the column of a table that has how many changes helped, and so on."""

    def cell(_plan: Plan, _all: Sequence[Outcome], outcomes: Sequence[Outcome]) -> str:
        counts = [outcome.facts[_FACT] for outcome in outcomes if _FACT in outcome.facts]
        if not counts:
            return "–"
        names = ("helped", "hurt", "none", "inconclusive", "untried")
        return " / ".join(str(sum(count[name] for count in counts)) for name in names)

    return "helped / hurt / no effect / inconclusive / not tried", cell


def remark(plan: Plan) -> str:
    """Return what the column counts, in a sentence."""
    return (
        f"The last column is of the runs with seed {min(plan.seeds)}: their first {_CHANGES} "
        f"changes were put to trials of up to {_REPEATS} pairs, judged by the validation loss "
        f"{_EVALUATIONS * plan.every} updates later (`branchtrack review`)."
    )


def run_of(outcome: Outcome) -> str:
    """Return the name of the run that an outcome is of."""
    return outcome.run.partition("/")[0]


def _chosen(plan: Plan, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield the runs of the first seed in which something was changed, each once."""
    names = [
        run_of(outcome)
        for outcome in outcomes
        if outcome.seed == min(plan.seeds) and outcome.interventions
    ]
    yield from dict.fromkeys(names)


def _review(laboratory: Laboratory, run: str) -> dict[str, Any]:
    steps, log = _EVALUATIONS * laboratory.plan.every, f"{run}-review"
    budget = _CHANGES * 2 * _REPEATS * steps
    words = ["--steps", str(steps), "--repeats", str(_REPEATS), "--budget", str(budget)]
    words += ["--slots", str(_SLOTS), "--json"]
    with laboratory.command("review", run, *words, log=log) as command:
        laboratory.wait(command, log)
    with laboratory.database.read() as connection:
        rows = plan_review(connection, run, steps=steps, repeats=_REPEATS)
    review = payloads.review(rows)
    return {name: value for name, value in review.items() if isinstance(value, int)}
