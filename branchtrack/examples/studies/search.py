"""The study `search`: on from a healthy node, or from scratch, when a rate was too high."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from branchtrack.core.records import Run
from branchtrack.db import metrics, nodes, runs, segments
from branchtrack.examples.studies import reaching, recorded
from branchtrack.examples.studies.laboratory import TASKS, Laboratory
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.reaching import BRANCHING, ONE_RATE, REFERENCE, RESTART
from branchtrack.examples.studies.recorded import Training, rank
from branchtrack.examples.studies.study import Arm, Study, Train

#: How many times too high the rate is once it has jumped.
_TIMES = 16
#: A good rate of each task, times that.
_RATES = {"text": 4e-3 * _TIMES, "digits": 3e-3 * _TIMES, "bert": 1e-4 * _TIMES}
#: The tasks that are also trained at the wrong rate from the first update on.
_AT_ONCE = ("text", "digits")
#: What is added to a task's name where the rate is wrong from the first update on.
AT_ONCE = " at once"
#: The members of a population, and what the rates of those after the first are multiplied with.
_MEMBERS, _FACTORS = 3, ("x0.5", "x0.25")
_LOOK = 0.2
#: What both agents have in common: when they go back, and with what rate.
_RULE = ["--policy", "guard", "--mode", "act", "--option", "metric=eval_loss",
         "--option", "window=1", "--option", "rise=0.1", "--option", "noise=3",
         "--option", "stuck=4", "--option", "progress=0.01",
         "--option", "updates=20",
         "--budget", "per_1000_steps=1000", "--budget", "branches=50"]  # fmt: skip
_TRIES = "0.5,0.25,0.125,0.0625"


def plan(quick: bool, seeds: int | None = None) -> Plan:
    """Return the size of the study; a quick one has the smallest task alone."""
    steps, turn = (240, 120) if quick else (600, 150)
    names = ("digits",) if quick else tuple(_RATES)
    cases = {name: {"task": name, "turn": turn} for name in names}
    cases |= {f"{name}{AT_ONCE}": {"task": name, "turn": 0} for name in _AT_ONCE if not quick}
    return Plan(
        cases=cases,
        # The sizes and the agents' rule were chosen on the seeds 0 to 2.
        seeds=range(3, 3 + (seeds or (1 if quick else 3))),
        steps=steps,
        every=20,
        quick=quick,
        options={"interval": 40, "within": turn * 3 // 2},
    )


def _one(arm: str, agent: Sequence[str] = ()) -> Train:
    """Return how an arm trains one run, which an agent watches or none."""

    def train(laboratory: Laboratory, case: str, seed: int) -> Outcome:
        options = _options(laboratory.plan, case, seed, is_right=arm == REFERENCE)
        task = laboratory.plan.cases[case]["task"]
        training = laboratory.train(task, name(arm, case, seed), agent=agent, **options)
        return recorded.outcome(arm, case, seed, [training])

    return train


def _options(size: Plan, case: str, seed: int, *, is_right: bool = False) -> dict[str, Any]:
    """Return the options of a training; the right one's rate never jumps."""
    chosen = size.cases[case]
    return {
        "lr": _RATES[chosen["task"]],
        "schedule": "jump",
        "turn": size.steps if is_right else chosen["turn"],
        "seed": seed,
        "steps": size.steps,
        "every": size.every,
    }


def name(arm: str, case: str, seed: int) -> str:
    """Return the name of a run, which is that of its cell."""
    return f"{arm}-{case}-s{seed}".replace(" ", "_")


def _population(laboratory: Laboratory, case: str, seed: int) -> Outcome:
    """Train some branches at the same time, the worst of which is replaced again and again."""
    size, title = laboratory.plan, name("PBT", case, seed)
    interval = size.options["interval"]
    options = {"name": title, **_options(size, case, seed), "members": _MEMBERS,
               "interval": interval, "agent": "watcher"}  # fmt: skip
    words = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    began = time.time()
    command = [sys.executable, "-m", f"{TASKS}.{size.cases[case]['task']}", *words]
    with laboratory.process(command, title) as first:
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
    return recorded.outcome("PBT", case, seed, [_population_of(laboratory, run)])


def _wait_for_root(laboratory: Laboratory, run: Run, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with laboratory.database.read() as connection:
            if nodes.list_of_run(connection, run.id, limit=1):
                return
        time.sleep(_LOOK)


def _population_of(laboratory: Laboratory, run: Run) -> Training:
    """Return the training of all members; its curve is that of the best one at each step."""
    with laboratory.database.read() as connection:
        training = recorded.read(connection, runs.get_run(connection, run.id))
        spans = [s for s in segments.list_of_run(connection, run.id) if s.started_at is not None]
        series = metrics.read(connection, [span.id for span in spans], recorded.METRIC)
    points = [
        (step, value)
        for part in series.values()
        for step, value in zip(part.steps.tolist(), part.values.tolist(), strict=True)
    ]
    return replace(training, curve=best_of(points))


def best_of(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the lowest loss of all members at each step, over the updates of all of them."""
    lowest: dict[float, float] = {}
    for step, value in points:
        lowest[step] = min(lowest.get(step, math.inf), rank(value))
    return [(step * _MEMBERS, value) for step, value in sorted(lowest.items())]


def _remarks(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    lines = [
        _error(plan),
        f"The loss to reach is, for each seed, the lowest held-out (validation) loss of the "
        f"training without the error within {plan.options['within']} updates. Who never reaches it "
        f"counts with all of its {plan.steps} updates, which is a lower bound.",
        *(reaching.by_seed(plan, outcomes, case) for case in plan.cases),
    ]
    for arm in (BRANCHING, ONE_RATE):
        shares = reaching.shares(plan, outcomes, arm)
        late = [share for (case, _), share in shares.items() if not case.endswith(AT_ONCE)]
        at_once = [share for (case, _), share in shares.items() if case.endswith(AT_ONCE)]
        cases = [case for case in plan.cases if not case.endswith(AT_ONCE)]
        bounds = reaching.bounds(plan, outcomes, arm, cases)
        lines.append(f"{reaching.verdict(late, 'Where the rate goes wrong later', arm)} {bounds}")
        if at_once:
            what = "Where it is wrong from the first update on"
            lines.append(reaching.verdict(at_once, what, arm))
    if early := reaching.before_the_error(plan, outcomes):
        lines.append(
            f"In {early} of {len(late)} pairs the loss was there before the error, when all are "
            "the same training: their share is 100%, whatever was done later."
        )
    if at_once:
        lines.append(
            "In the cases at once the first node has cost nothing, and all that follows it was "
            "trained at the wrong rate. Their median and that of the others are not put together: "
            "what either weighs would be a choice of ours."
        )
    return [
        *lines,
        "What the branching agent tries is part of its updates: 80 each time that it goes back.",
        "The sizes, the size of the error and the agents' common rule were chosen by trying them "
        "outside of this study on the seeds 0 to 2.",
    ]


def _error(plan: Plan) -> str:
    """Return the sentence that says from which update on the rate is wrong."""
    turn = max(case["turn"] for case in plan.cases.values())
    at_once = f", in the cases{AT_ONCE} with the first" if len(plan.cases) > 1 else ""
    rates = ", ".join(f"{task} {rate / _TIMES:g}" for task, rate in _RATES.items())
    return f"The error begins after update {turn}{at_once}; the good rates are: {rates}."


@contextmanager
def _services(laboratory: Laboratory) -> Iterator[None]:
    """Have a worker that trains what the population forks."""
    with laboratory.command("worker", "--slots", "4", log="worker"):
        yield


ARMS: tuple[Arm, ...] = (
    Arm("nothing", "the rate stays as it is", _one("nothing")),
    Arm(
        BRANCHING,
        "`branchtrack agent --policy guard --option to=healthy --option tries=...`: when the "
        "held-out loss rises, or has not fallen by 1 % in four looks, back to the last node "
        "before; 1/2, 1/4, 1/8 and 1/16 of the rate are tried for 20 updates each, the best goes "
        "on",
        _one(BRANCHING, [*_RULE, "--option", "to=healthy", "--option", f"tries={_TRIES}"]),
    ),
    Arm(
        ONE_RATE,
        "the same without the tries: with half the rate",
        _one(ONE_RATE, [*_RULE, "--option", "to=healthy"]),
    ),
    Arm(
        RESTART,
        "the same rule with `to=first`: from scratch, with half the rate; what a rate does after "
        "the error would be seen only after all updates before it, so that nothing is tried",
        _one(RESTART, [*_RULE, "--option", "to=first"]),
    ),
    Arm(
        "PBT",
        "`branchtrack agent --policy population` over three branches, which begin at the rate, "
        "half and a quarter of it and share the updates; the best one counts",
        _population,
    ),
    Arm(
        REFERENCE,
        "the rate never jumps: what hindsight would give, and what gives the loss to reach",
        _one(REFERENCE),
    ),
)

STUDY = Study(
    name="search",
    title="Search as a tree",
    question=(
        "A text model, a network for digits and the fine-tuning of a packaged BERT are trained "
        f"with a schedule that has an error: from some update on the rate is {_TIMES} times a good "
        "one. What needs fewer updates to the loss of a training without the error: going on from "
        "the last healthy node, or from scratch?"
    ),
    arms=ARMS,
    plan=plan,
    expected=(1.5, 40),
    disk=25.0,
    services=_services,
    remarks=_remarks,
    has_own_axes=True,
    columns=(("updates to the target", reaching.column),),
)
