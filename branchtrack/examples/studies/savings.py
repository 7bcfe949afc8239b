"""What a trunk with cool-downs saves: what the study `cooldown` is about, from outcomes alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from branchtrack.examples.studies.outcome import Outcome, Plan

TRUNK, FULL = "trunk with cool-downs", "four full trainings"
#: Full trainings whose rate is the trunk's at every update.
ALIKE = "four with its schedule"
#: The share of the updates of full trainings that a trunk is to need at most.
AIM = 0.55


def updates(outcomes: Sequence[Outcome], arm: str) -> float:
    """Return the updates of all lengths together, the mean over the seeds; 0 without outcomes."""
    chosen = [outcome.steps for outcome in outcomes if outcome.arm == arm]
    return statistics.fmean(chosen) if chosen else 0.0


def share(outcomes: Sequence[Outcome]) -> float:
    """Return the trunk's updates as a share of those of full trainings."""
    return updates(outcomes, TRUNK) / updates(outcomes, FULL)


def differences(outcomes: Sequence[Outcome], case: str, other: str = FULL) -> list[float]:
    """Return by how much the trunk's held-out loss is higher, for each seed that has both arms."""
    losses: dict[str, Mapping[int, float]] = {
        arm: {o.seed: o.loss for o in outcomes if (o.arm, o.case) == (arm, case)}
        for arm in (TRUNK, other)
    }
    seeds = sorted(losses[TRUNK].keys() & losses[other].keys())
    return [losses[TRUNK][seed] - losses[other][seed] for seed in seeds]


def as_low(plan: Plan, outcomes: Sequence[Outcome]) -> int:
    """Return at how many lengths the trunk's mean held-out loss is equal or lower."""
    rows = (differences(outcomes, case) for case in plan.cases)
    return sum(bool(values) and statistics.fmean(values) <= 0 for values in rows)


def verdict(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """Return the sentence that says at how many lengths the loss is as low, for which share."""
    lengths, part = as_low(plan, outcomes), share(outcomes)
    word = "is" if part <= AIM and lengths == len(plan.cases) else "is not"
    return (
        f"{TRUNK!r} needs {updates(outcomes, TRUNK):,.0f} updates for all lengths, {part:.0%} of "
        f"the {updates(outcomes, FULL):,.0f} of {FULL!r}; its mean held-out loss is equal or lower "
        f"at {lengths} of {len(plan.cases)} lengths. The aim, as low at all of them for at most "
        f"{AIM:.0%}, {word} met."
    )


def by_length(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """Return the sentence with the differences at each length, and of how many seeds they are."""
    words = []
    for case in plan.cases:
        values = differences(outcomes, case)
        if not values:
            continue
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        lower = sum(value <= 0 for value in values)
        mean = statistics.fmean(values)
        words.append(f"{case} {mean:+.3f}{spread} (lower or equal in {lower} of {len(values)})")
    return f"Held-out loss of {TRUNK!r} less that of {FULL!r}, by seed: {'; '.join(words)}."


def alike(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """Return the sentence that says what of the difference is the schedule's, and what none."""
    values = [value for case in plan.cases for value in differences(outcomes, case, ALIKE)]
    equal = sum(value == 0 for value in values)
    return (
        f"What is lower is lower by the schedule, what is saved is saved by branching: {ALIKE!r} "
        f"has the same held-out loss to the last digit in {equal} of {len(values)} pairs of length "
        f"and seed, for {updates(outcomes, ALIKE):,.0f} updates."
    )
