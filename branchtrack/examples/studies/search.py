"""The study `search`: on from a healthy node, or from scratch, after too high a learning rate."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from branchtrack.core.records import Run
from branchtrack.db import metrics, nodes, runs, segments
from branchtrack.examples.studies import recorded
from branchtrack.examples.studies.laboratory import TASKS, Laboratory
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.study import Arm, Outcome, Plan, Study, Train

#: The rate that each task begins with: about eight times a good one.
_RATES = {"text": 0.02, "digits": 0.08, "bert": 0.0024}
_BRANCHING, _RESTART = "branching agent", "restart agent"
#: The share of the restart agent's updates that the branching agent is to need at most.
AIM = 0.6
#: The members of a population, and what the rates of those after the first are multiplied with.
_MEMBERS, _FACTORS = 3, ("x0.5", "x0.25")
_LOOK = 0.2
#: What both agents have in common: when they go back, and with what rate.
_RULE = ["--policy", "guard", "--mode", "act", "--option", "metric=eval_loss",
         "--option", "window=1", "--option", "stuck=3",
         "--budget", "per_1000_steps=1000", "--budget", "branches=50"]  # fmt: skip


def plan(quick: bool, seeds: int | None = None) -> Plan:
    """Return the size of the study; a quick one has the smallest task alone."""
    return Plan(
        cases={name: rate for name, rate in _RATES.items() if not quick or name == "digits"},
        seeds=range(seeds or (1 if quick else 3)),
        steps=240 if quick else 300,
        every=20,
        quick=quick,
        options={"interval": 40},
    )


def _one(arm: str, agent: Sequence[str] = ()) -> Train:
    """Return how an arm trains one run, which an agent watches or none."""

    def train(laboratory: Laboratory, case: str, seed: int) -> Outcome:
        size = laboratory.plan
        training = laboratory.train(
            case,
            name(arm, case, seed),
            agent=agent,
            lr=size.cases[case],
            seed=seed,
            steps=size.steps,
            every=size.every,
        )
        return recorded.outcome(arm, case, seed, [training])

    return train


def name(arm: str, case: str, seed: int) -> str:
    """Return the name of a run, which is that of its cell."""
    return f"{arm}-{case}-s{seed}".replace(" ", "_")


def _population(laboratory: Laboratory, case: str, seed: int) -> Outcome:
    """Train some branches at the same time, the worst of which is replaced again and again."""
    size, title = laboratory.plan, name("PBT", case, seed)
    interval = size.options["interval"]
    options = {"name": title, "lr": size.cases[case], "seed": seed, "steps": size.steps,
               "every": size.every, "members": _MEMBERS, "interval": interval,
               "agent": "watcher"}  # fmt: skip
    words = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    began = time.time()
    with laboratory.process([sys.executable, "-m", f"{TASKS}.{case}", *words], title) as first:
        run = laboratory.run_of(first, began, title)
        watch = ["agent", run.name, "--policy", "population", "--mode", "act",
                 "--option", "metric=eval_loss", "--option", f"interval={interval}",
                 "--option", "factors=0.5,2", "--option", "quantile=0.34",
                 "--budget", "per_1000_steps=1000", "--budget", "branches=50",
                 "--name", "watcher", "--look", "0.2", "--json"]  # fmt: skip
        _wait_for_root(laboratory, run, first)
        more = ["resume", f"{run.name}@0", "--set", f"lr={','.join(_FACTORS)}", "--slots", "2"]
        with (
            laboratory.command(*more, log=f"{title}-members") as members,
            laboratory.command(*watch, log=f"{title}-agent") as agent,
        ):
            laboratory.wait(first, title)
            laboratory.wait(members, f"{title}-members")
            # It ends once none of them is trained any more.
            laboratory.wait(agent, f"{title}-agent")
    return recorded.outcome("PBT", case, seed, [_best_member(laboratory, run)])


def _wait_for_root(laboratory: Laboratory, run: Run, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with laboratory.database.read() as connection:
            if nodes.list_of_run(connection, run.id, limit=1):
                return
        time.sleep(_LOOK)


def _best_member(laboratory: Laboratory, run: Run) -> Training:
    """Return the run as its best member ended; its curve is that of the best at each step."""
    with laboratory.database.read() as connection:
        training = recorded.read(connection, runs.get_run(connection, run.id))
        spans = [s for s in segments.list_of_run(connection, run.id) if s.started_at is not None]
        last = metrics.last_values(connection, [span.id for span in spans])
        series = metrics.read(connection, [span.id for span in spans], "eval_loss")
        ended = [span for span in spans if "test_loss" in last[span.id]]
        best = min(ended, key=lambda span: rank(last[span.id]["eval_loss"]))
        points = [
            (step, value)
            for part in series.values()
            for step, value in zip(part.steps.tolist(), part.values.tolist(), strict=True)
        ]
        return replace(
            training,
            branch=runs.get_branch(connection, best.branch_id).name,
            curve=best_of(points),
            eval_loss=last[best.id]["eval_loss"],
            test_loss=last[best.id]["test_loss"],
        )


def best_of(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the lowest loss of all members at each step, over the updates of all of them."""
    lowest: dict[float, float] = {}
    for step, value in points:
        lowest[step] = min(lowest.get(step, math.inf), rank(value))
    return [(step * _MEMBERS, value) for step, value in sorted(lowest.items())]


def rank(loss: float) -> float:
    """Return a loss to compare; the worst if it is no number."""
    return loss if math.isfinite(loss) else math.inf


def target(outcomes: Sequence[Outcome], case: str) -> float:
    """Return the loss to reach: the restart agent's lowest one, mean over the seeds."""
    chosen = [o for o in outcomes if (o.arm, o.case) == (_RESTART, case)]
    lowest = [min((rank(y) for _, y in o.curve), default=math.inf) for o in chosen]
    return statistics.fmean(lowest) if lowest else math.inf


def updates_to(outcome: Outcome, loss: float) -> float | None:
    """Return after how many updates an outcome had a loss; None if it never had."""
    return next((x for x, y in outcome.curve if y <= loss), None)


def ratios(plan: Plan, outcomes: Sequence[Outcome]) -> dict[tuple[str, int], float | None]:
    """Return the branching agent's updates as a share of the restart agent's, by case and seed.

    Who never reached the loss has used its whole budget at least; None if neither did.
    """
    by_cell = {(o.arm, o.case, o.seed): o for o in outcomes}
    shares: dict[tuple[str, int], float | None] = {}
    for case in plan.cases:
        loss = target(outcomes, case)
        for seed in plan.seeds:
            pair = [by_cell[arm, case, seed] for arm in (_BRANCHING, _RESTART)]
            own, other = (updates_to(outcome, loss) for outcome in pair)
            is_known = own is not None or other is not None
            shares[case, seed] = _spent(plan, own) / _spent(plan, other) if is_known else None
    return shares


def _column(plan: Plan, outcomes: Sequence[Outcome], row: Sequence[Outcome]) -> str:
    """Return after how many updates the loss was reached, mean over the seeds that did."""
    loss = target(outcomes, row[0].case)
    steps = [step for outcome in row if (step := updates_to(outcome, loss)) is not None]
    if not steps:
        return "not reached"
    return f"{statistics.fmean(steps):,.0f} ({len(steps)} of {len(row)})"


def _remarks(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    lines = [
        "The loss to reach is the lowest held-out (validation) loss of the restart agent within "
        "its updates, mean over the seeds. Who never reaches it counts with all of its updates, "
        "which is a lower bound. That agent itself reaches it by definition with its better seeds, "
        "not with all."
    ]
    for case in plan.cases:
        loss = target(outcomes, case)
        words = [f"{arm.name} {_reached(outcomes, arm.name, case, loss)}" for arm in ARMS]
        lines.append(f"{case}, updates to {loss:.3f}, by seed: {'; '.join(words)}.")
    return [*lines, verdict(ratios(plan, outcomes)), *_reasons(plan, outcomes)]


def _reasons(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    """Return what is known of why the shares are as they are."""
    by_cell = {(o.arm, o.case, o.seed): o for o in outcomes}
    cells = [(case, seed) for case in plan.cases for seed in plan.seeds]
    same = sum(
        is_before_a_decision(
            by_cell[_BRANCHING, case, seed],
            by_cell[_RESTART, case, seed],
            target(outcomes, case),
        )
        for case, seed in cells
    )
    lines = [
        f"On {case} doing nothing ended lower than the branching agent: the rate at the beginning "
        "is not bad enough for so few updates, or what it has learned by then is of little use."
        for case in plan.cases
        if _mean(outcomes, "nothing", case) < _mean(outcomes, _BRANCHING, case)
    ]
    if not same:
        return lines
    return [
        *lines,
        f"In {same} of {len(cells)} pairs the loss was there before either agent had gone back: "
        "until then both are the same training, so that their share is 100%.",
    ]


def _mean(outcomes: Sequence[Outcome], arm: str, case: str) -> float:
    """Return the mean held-out loss of an arm; infinity if one of its trainings diverged."""
    losses = [
        o.loss if math.isfinite(o.loss) else math.inf
        for o in outcomes
        if o.arm == arm and o.case == case
    ]
    return statistics.fmean(losses) if losses else math.nan


def is_before_a_decision(first: Outcome, second: Outcome, loss: float) -> bool:
    """Return whether two outcomes had a loss while their curves were still the same."""
    for point, other in zip(first.curve, second.curve, strict=False):
        if tuple(point) != tuple(other):
            return False
        if point[1] <= loss:
            return True
    return False


def _spent(plan: Plan, step: float | None) -> float:
    """Return updates that count: all of the plan's where the loss was not reached, one at least."""
    return float(plan.steps) if step is None else max(1.0, step)


def verdict(shares: dict[tuple[str, int], float | None]) -> str:
    """Return the sentence that says whether the branching agent needs as little as it should."""
    known = [share for share in shares.values() if share is not None]
    without = len(shares) - len(known)
    left_out = (
        f" Left out: {without} of {len(shares)}, where neither reached it." if without else ""
    )
    if not known:
        return "Neither the branching agent nor the restart agent reached that loss."
    median = statistics.median(known)
    word = "that is" if median <= AIM else "that is not"
    return (
        f"Branching agent against restart agent: {median:.0%} of the updates, median over tasks "
        f"and seeds; {word} at most {AIM:.0%}.{left_out}"
    )


def _reached(outcomes: Sequence[Outcome], arm: str, case: str, loss: float) -> str:
    chosen = sorted(
        (o for o in outcomes if (o.arm, o.case) == (arm, case)), key=lambda outcome: outcome.seed
    )
    steps = (updates_to(outcome, loss) for outcome in chosen)
    return ", ".join("not reached" if step is None else f"{step:,.0f}" for step in steps)


@contextmanager
def _services(laboratory: Laboratory) -> Iterator[None]:
    """Have a worker that trains what the population forks."""
    with laboratory.command("worker", "--slots", "4", log="worker"):
        yield


ARMS: tuple[Arm, ...] = (
    Arm("nothing", "the rate stays as it is", _one("nothing")),
    Arm(
        _BRANCHING,
        "`branchtrack agent --policy guard --option to=healthy`: when the held-out loss rises, or "
        "has not fallen by 3 % in three looks, back to the last node before, with half the rate",
        _one(_BRANCHING, [*_RULE, "--option", "to=healthy"]),
    ),
    Arm(
        _RESTART,
        "the same rule with `to=first`: begins from scratch, with half the rate",
        _one(_RESTART, [*_RULE, "--option", "to=first"]),
    ),
    Arm(
        "PBT",
        "`branchtrack agent --policy population` over three branches, which begin at the rate, "
        "half and a quarter of it and share the updates; the best one counts",
        _population,
    ),
)

STUDY = Study(
    name="search",
    title="Search as a tree",
    question=(
        "A text model, a network for digits and the fine-tuning of a packaged BERT begin with "
        "about eight times a good learning rate. What needs fewer updates to the same held-out "
        "loss: going on from the last healthy node, or from scratch?"
    ),
    arms=ARMS,
    plan=plan,
    expected=(1.5, 12),
    services=_services,
    remarks=_remarks,
    is_logarithmic=True,
    columns=(("updates to the target", _column),),
)
