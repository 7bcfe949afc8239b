"""The study `cooldown`: four lengths from one trunk with cool-downs, or each from scratch.

The method is that of Hu et al. 2024, "MiniCPM", and of Hägele et al. 2024, "Scaling laws and
compute-optimal training beyond fixed training durations". Its branches are made by the command that
a user would write.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from branchtrack.analysis import curves
from branchtrack.db import runs
from branchtrack.examples.studies import cooldown_plot, recorded, savings
from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.savings import ALIKE, FULL, TRUNK
from branchtrack.examples.studies.study import ANY_CASE, Arm, Study, Train

_TASK, _BRANCH = "trainer", "cooldown"
_LENGTHS, _COOLDOWN, _WARM_UP = (400, 800, 1200, 1600), 160, 20
#: Validation losses at the longest length by peak rate, means of the seeds 3 and 4.
_SEARCH: dict[str, dict[float, float]] = {
    TRUNK: {2e-3: 1.585, 2.8e-3: 1.573, 4e-3: 1.556, 5.6e-3: 1.607, 8e-3: 1.694},
    FULL: {2e-3: 1.698, 2.8e-3: 1.642, 4e-3: 1.601, 5.6e-3: 1.690, 8e-3: 1.860},
}
_RATES = {TRUNK: 4e-3, ALIKE: 4e-3, FULL: 4e-3}


def plan(quick: bool, seeds: int | None = None) -> Plan:
    """Return the size of the study; its ``steps`` are those of all lengths from scratch."""
    lengths, cooldown = ((60, 120, 180, 240), 24) if quick else (_LENGTHS, _COOLDOWN)
    return Plan(
        cases={f"{length:,} updates": length for length in lengths},
        seeds=range(seeds or (1 if quick else 3)),
        steps=sum(lengths),
        every=6 if quick else 20,
        quick=quick,
        # All nodes that are cooled down from are checkpoints.
        options={"cooldown": cooldown, "save": cooldown // 2, "rates": _RATES},
    )


def _trunk(laboratory: Laboratory, _case: str, seed: int) -> Outcome:
    """Train at a constant rate, and cool down from a node for each length."""
    size, name = laboratory.plan, _name(TRUNK, seed)
    starts = _starts(size)
    run = _train(
        laboratory, TRUNK, name, seed, max(starts.values()), size.options["save"],
        schedule="constant_with_warmup",
    ).run  # fmt: skip
    words, log = _resume(size, run), f"{name}-{_BRANCH}"
    with laboratory.command(*words, log=log) as command:
        laboratory.wait(command, log)
    with laboratory.database.read() as connection:
        whole = recorded.read(connection, runs.find_run(connection, run))
    ends = {case: f"{run}/{_BRANCH}-at-{step}" for case, step in starts.items()}
    return _outcome(laboratory, TRUNK, seed, [whole], ends)


def _starts(size: Plan) -> dict[str, int]:
    """Return the step that is cooled down from for each length, by its case."""
    return {case: length - size.options["cooldown"] for case, length in size.cases.items()}


def _resume(size: Plan, run: str) -> list[str]:
    """Return the words of the command that makes the branches."""
    nodes = ",".join(f"{run}@{step}" for step in _starts(size).values())
    more = size.options["cooldown"]
    change = ["lr_scheduler_type=linear", f"max_steps=+{more}"]
    return ["resume", nodes, "--name", _BRANCH, "--set", *change]


def _full(arm: str) -> Train:
    """Return how an arm trains each length from scratch."""

    def train(laboratory: Laboratory, _case: str, seed: int) -> Outcome:
        size, name = laboratory.plan, _name(arm, seed)
        how = {"schedule": "cosine"} if arm == FULL else {"decay": size.options["cooldown"]}
        trainings = {
            case: _train(laboratory, arm, f"{name}-{length}", seed, length, length, **how)
            for case, length in size.cases.items()
        }
        ends = {case: f"{training.run}/{training.branch}" for case, training in trainings.items()}
        return _outcome(laboratory, arm, seed, list(trainings.values()), ends)

    return train


def _train(
    laboratory: Laboratory, arm: str, name: str, seed: int, steps: int, save: int, **how: Any
) -> Training:
    """Train a run of an arm from scratch; ``how`` are options of its schedule."""
    rate, every = laboratory.plan.options["rates"][arm], laboratory.plan.every
    common = {"lr": rate, "warm-up": _WARM_UP, "every": every, "save": save}
    return laboratory.train(_TASK, name, seed=seed, steps=steps, **common, **how)


def _name(arm: str, seed: int) -> str:
    """Return the name of a run, which is that of its cell or begins with it."""
    return f"{arm}-s{seed}".replace(" ", "_")


def _outcome(
    laboratory: Laboratory,
    arm: str,
    seed: int,
    trainings: Sequence[Training],
    ends: Mapping[str, str],
) -> Outcome:
    """Return what came of an arm; ``ends`` are the branches that end at a length, by its case."""
    lengths = {case: _end(laboratory, branch, case) for case, branch in ends.items()}
    longest = list(lengths.values())[-1]
    outcome = recorded.outcome(arm, ANY_CASE, seed, trainings)
    return replace(outcome, loss=longest["loss"], run=longest["run"], facts={"lengths": lengths})


def _end(laboratory: Laboratory, branch: str, case: str) -> dict[str, Any]:
    """Return what came of a branch at its end: its test loss, and the validation losses."""
    return {
        "run": f"{branch}@{laboratory.plan.cases[case]}",
        "curve": _curve(laboratory, branch, recorded.METRIC),
        "loss": _curve(laboratory, branch, "test_loss")[-1][1],
    }


def _curve(laboratory: Laboratory, ref: str, metric: str) -> list[tuple[float, float]]:
    """Return a metric along a branch, what it inherited too."""
    with laboratory.database.read() as connection:
        branch = runs.find_branch(connection, ref)
        series = curves.branch_curve(connection, branch, metric).series
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def _views(outcome: Outcome) -> Sequence[Outcome]:
    """Return the outcome at each length; its updates are those of all."""
    return [
        replace(
            outcome,
            case=case,
            loss=float(end["loss"]),
            curve=[(float(x), float(y)) for x, y in end["curve"]],
            run=end["run"],
            facts={},
        )
        for case, end in outcome.facts["lengths"].items()
    ]


def _validation(_plan: Plan, _outcomes: Sequence[Outcome], row: Sequence[Outcome]) -> str:
    """Return the mean validation loss at the end of a row, which the picture shows."""
    return f"{statistics.fmean(outcome.curve[-1][1] for outcome in row):.3f}"


def _remarks(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    lengths, more = plan.cases.values(), plan.options["cooldown"]
    command = " ".join(_resume(plan, _name(TRUNK, plan.seeds[0])))
    return [
        savings.verdict(plan, outcomes),
        savings.by_length(plan, outcomes),
        savings.alike(plan, outcomes),
        "`steps` are those of all lengths together: the trunk to its last node, and each cool-down "
        f"of {more} updates ({more / max(lengths):.0%} to {more / min(lengths):.0%} of a length); "
        "or each length from scratch. They are what is compared, not `seconds`, which depend on "
        "what else the machine did. All arms have the same seeds, data, batches of 16, warm-up of "
        f"{_WARM_UP} updates, AdamW and weight decay.",
        *([] if plan.quick else [_search()]),
        f"The branches of the first seed are those of `branchtrack {command}`.",
    ]


def _search() -> str:
    """Return the sentence that says how the peak rates were chosen."""
    words = [
        f"{arm!r} {', '.join(f'{rate:g}: {loss:.3f}' for rate, loss in losses.items())}"
        for arm, losses in _SEARCH.items()
    ]
    return (
        "The peak rate of an arm is the best of the same five by validation loss at the longest "
        "length, means of the seeds 3 and 4, which nothing else is from: "
        f"{'; '.join(words)}. That search is in no count of updates; at shorter lengths "
        "other rates may be better, for either arm."
    )


ARMS: tuple[Arm, ...] = (
    Arm(
        TRUNK,
        "one run at a constant rate after the warm-up; from a node for each length `branchtrack "
        "resume ... --set lr_scheduler_type=linear max_steps=+N` trains a branch whose rate falls "
        "to zero",
        _trunk,
        per_case=False,
    ),
    Arm(
        FULL,
        "each length from scratch, with a cosine to zero of that length",
        _full(FULL),
        per_case=False,
    ),
    Arm(
        ALIKE,
        "each length from scratch, with the rate of the trunk and its cool-down at every update",
        _full(ALIKE),
        per_case=False,
    ),
)

STUDY = Study(
    name="cooldown",
    title="One trunk with cool-downs",
    question=(
        "One trunk with a constant learning rate, cooled down from four of its nodes, against four "
        "full trainings from scratch of the same lengths: is the held-out loss as low for half of "
        "the updates? The method is that of Hu et al. 2024 (*MiniCPM: Unveiling the Potential of "
        "Small Language Models with Scalable Training Strategies*) and Hägele et al. 2024 "
        "(*Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations*)."
    ),
    arms=ARMS,
    plan=plan,
    expected=(1.5, 8),
    disk=0.2,
    remarks=_remarks,
    columns=(("validation loss", _validation),),
    views=_views,
    picture=cooldown_plot.svg,
    budget="updates for all lengths from scratch",
    axes=("updates", "validation loss"),
    is_lowest=False,
)
