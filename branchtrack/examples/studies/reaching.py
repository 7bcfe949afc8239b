"""After how many updates arms reach the same held-out loss: what the study `search` is about.

The loss to reach is, for each case and seed, the lowest one that the training without the error has
in the first updates of its own. It does not depend on the arms that are compared.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence

from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.recorded import rank

REFERENCE, RESTART = "without the error", "restart agent"
BRANCHING, ONE_RATE = "branching agent", "branching one rate"
#: The share of the restart agent's updates that the branching agent is to need at most.
AIM = 0.6
Key = tuple[str, int]


def targets(plan: Plan, outcomes: Sequence[Outcome]) -> dict[Key, float]:
    """Return the loss to reach by case and seed; ``plan.options["within"]`` are the updates."""
    within = plan.options["within"]
    return {
        (o.case, o.seed): min((rank(y) for x, y in o.curve if x <= within), default=math.inf)
        for o in outcomes
        if o.arm == REFERENCE
    }


def updates_to(outcome: Outcome, loss: float) -> float | None:
    """Return after how many updates an outcome had a loss; None if it never had."""
    return next((x for x, y in outcome.curve if y <= loss), None)


def shares(
    plan: Plan, outcomes: Sequence[Outcome], arm: str = BRANCHING
) -> dict[Key, float | None]:
    """Return the updates of an arm as a share of the restart agent's, by case and seed.

    Who never reached the loss has used its whole budget at least; None if neither did.
    """
    by_cell = {(o.arm, o.case, o.seed): o for o in outcomes}
    values: dict[Key, float | None] = {}
    for (case, seed), loss in targets(plan, outcomes).items():
        pair = [by_cell.get((name, case, seed)) for name in (arm, RESTART)]
        own, other = (None if o is None else updates_to(o, loss) for o in pair)
        is_known = own is not None or other is not None
        values[case, seed] = _spent(plan, own) / _spent(plan, other) if is_known else None
    return values


def bounds(plan: Plan, outcomes: Sequence[Outcome], arm: str, cases: Collection[str]) -> str:
    """Return the sentence that says of how many pairs the share is no more than a bound."""
    losses = targets(plan, outcomes)
    missing = {
        name: {
            (o.case, o.seed)
            for o in outcomes
            if o.arm == name
            and o.case in cases
            and updates_to(o, losses.get((o.case, o.seed), -math.inf)) is None
        }
        for name in (arm, RESTART)
    }
    upper, lower = missing[RESTART] - missing[arm], missing[arm] - missing[RESTART]
    return (
        f"Only {arm!r} was there in {len(upper)} pairs, whose true share is lower, and only "
        f"{RESTART!r} in {len(lower)}, whose true share is higher."
    )


def before_the_error(plan: Plan, outcomes: Sequence[Outcome]) -> int:
    """Return how many pairs had the loss before the error, when both were the same training."""
    losses = targets(plan, outcomes)
    steps = (
        (updates_to(o, losses[o.case, o.seed]), plan.cases[o.case]["turn"])
        for o in outcomes
        if o.arm == RESTART and (o.case, o.seed) in losses
    )
    return sum(step is not None and step <= turn for step, turn in steps)


def column(plan: Plan, outcomes: Sequence[Outcome], row: Sequence[Outcome]) -> str:
    """Return after how many updates a row's arm was there: the mean over the seeds that were."""
    losses = targets(plan, outcomes)
    steps = [step for o in row if (step := updates_to(o, losses.get((o.case, o.seed), -math.inf)))]
    if not steps:
        return "not reached"
    return f"{statistics.fmean(steps):,.0f} ({len(steps)} of {len(row)})"


def by_seed(plan: Plan, outcomes: Sequence[Outcome], case: str) -> str:
    """Return the sentence with the updates of every arm and seed in a case."""
    losses = {seed: y for (name, seed), y in targets(plan, outcomes).items() if name == case}
    arms = dict.fromkeys(o.arm for o in outcomes if o.case == case)
    words = []
    for arm in arms:
        own = sorted((o for o in outcomes if (o.arm, o.case) == (arm, case)), key=lambda o: o.seed)
        steps = (updates_to(o, losses.get(o.seed, -math.inf)) for o in own)
        words.append(f"{arm} {', '.join('never' if s is None else f'{s:,.0f}' for s in steps)}")
    reached = ", ".join(f"{losses[seed]:.3f}" for seed in sorted(losses))
    return f"{case}, updates to {reached}, by seed: {'; '.join(words)}."


def verdict(values: Sequence[float | None], what: str, arm: str = BRANCHING) -> str:
    """Return the sentence that says whether an arm needs as little as it should."""
    known = [share for share in values if share is not None]
    without = len(values) - len(known)
    left_out = f" Left out: {without} of {len(values)}, where neither was there." if without else ""
    if not known:
        return f"{what}: neither {arm!r} nor {RESTART!r} reached the loss."
    median = statistics.median(known)
    word = "that is" if median <= AIM else "that is not"
    better = sum(share < 1 for share in known)
    return (
        f"{what}: {arm!r} needs {median:.0%} of the updates of {RESTART!r}, median "
        f"over tasks and seeds ({min(known):.0%} to {max(known):.0%}; fewer in {better} of "
        f"{len(known)} pairs); {word} at most {AIM:.0%}.{left_out}"
    )


def _spent(plan: Plan, step: float | None) -> float:
    """Return updates that count: all of the plan's where the loss was not reached, one at least."""
    return float(plan.steps) if step is None else max(1.0, step)
