"""The study `llm`: a language model that steers the learning rate, against what needs none."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from branchtrack.examples.studies import endpoint, recorded
from branchtrack.examples.studies.endpoint import ALLOWED
from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.study import Arm, Study, Train

_TASK = "text"
_RATE = 5e-3
#: How many times too high the rate is.
_TIMES = (1, 10, 30)
#: The rates of the search for a schedule, and the bounds of random search.
_RATES = (5e-4, 1e-3, 2e-3, 4e-3)
_LOWEST, _HIGHEST = 1e-4, 1e-1
_GOAL = (
    "Reach the lowest eval_loss when {steps} updates have been trained in all, those of abandoned "
    "branches too. You are asked after every {every} updates. {allowed} {moves}. {rules}"
)
_MOVES = {
    "llm": (
        "keep, double, halve",
        'Answer "nothing", or "set" lr to twice or to half of its value.',
    ),
    "llm branching": (
        "keep, double, halve, branch",
        'Answer "nothing", "set" lr to twice or to half of its value, or "rollback" to any node '
        "with an lr of your choice.",
    ),
    "restarts": (
        "keep, restart",
        'Answer "nothing", or "rollback" to the first node, which begins from scratch, with an lr '
        "of your choice.",
    ),
}


def plan(quick: bool, seeds: int | None = None) -> Plan:
    """Return the size of the study; a quick one has the middle case alone."""
    times = _TIMES[1:2] if quick else _TIMES
    return Plan(
        cases={f"lr {_RATE * factor:g}": _RATE * factor for factor in times},
        seeds=range(seeds or (2 if quick else 3)),
        steps=60 if quick else 240,
        every=15 if quick else 20,
        quick=quick,
        options={"trials": 2 if quick else 4, "base_url": "", "model": endpoint.MODEL},
    )


def _one(arm: str, agent: Sequence[str] = ()) -> Train:
    """Return how an arm trains one run, which an agent watches or none."""

    def train(laboratory: Laboratory, case: str, seed: int) -> Outcome:
        training = _training(laboratory, arm, case, seed, agent=agent)
        return recorded.outcome(arm, case, seed, [training])

    return train


def _asked(arm: str) -> Train:
    """Return how an arm trains a run that a language model watches."""

    def train(laboratory: Laboratory, case: str, seed: int) -> Outcome:
        size, (moves, rules) = laboratory.plan, _MOVES[arm]
        goal = _GOAL.format(
            steps=size.steps, every=size.every, allowed=ALLOWED, moves=moves, rules=rules
        )
        words = [
            "--policy", "llm", "--mode", "act", "--goal", goal,
            "--base-url", laboratory.services["base_url"], "--model", size.options["model"],
            "--option", f"every={size.every}",
            "--budget", "per_1000_steps=1000",
            "--budget", f"branches={0 if arm == 'llm' else 50}",
        ]  # fmt: skip
        training = _training(laboratory, arm, case, seed, agent=words)
        outcome = recorded.outcome(arm, case, seed, [training])
        return replace(outcome, facts={"note": size.options["model"]})

    return train


def _training(
    laboratory: Laboratory, arm: str, case: str, seed: int, agent: Sequence[str] = ()
) -> Training:
    size = laboratory.plan
    return laboratory.train(
        _TASK,
        name(arm, case, seed),
        agent=agent,
        lr=size.cases[case],
        seed=seed,
        steps=size.steps,
        every=size.every,
    )


def name(arm: str, case: str, seed: int, more: str = "") -> str:
    """Return the name of a run, which begins with that of its cell."""
    words = [arm, case, f"s{seed}", more]
    return "-".join(filter(None, words)).replace(" ", "_")


def _tuned(laboratory: Laboratory, case: str, seed: int) -> Outcome:
    """Try rates on a share of the updates, and train the rest with the best of them."""
    size = laboratory.plan
    rates = _RATES[-size.options["trials"] :]
    each = size.steps // 2 // len(rates)
    trials = [_search(laboratory, "tuned schedule", seed, rate, each, "cosine") for rate in rates]
    best = min(zip(trials, rates, strict=True), key=lambda pair: recorded.rank(pair[0].eval_loss))[
        1
    ]
    left = size.steps - each * len(rates)
    end = _search(laboratory, "tuned schedule", seed, best, left, "cosine")
    return recorded.outcome("tuned schedule", case, seed, [*trials, end])


def _random(laboratory: Laboratory, case: str, seed: int) -> Outcome:
    """Train with rates drawn at random, each for a share of the updates."""
    size, draw = laboratory.plan, random.Random(seed)
    count = size.options["trials"]
    trainings = []
    for _number in range(count):
        rate = math.exp(draw.uniform(math.log(_LOWEST), math.log(_HIGHEST)))
        steps = size.steps // count
        trainings.append(
            _search(laboratory, "random search", seed, float(f"{rate:.3g}"), steps, "constant")
        )
    best = min(trainings, key=lambda training: recorded.rank(training.eval_loss))
    return recorded.outcome("random search", case, seed, trainings, best)


def _search(
    laboratory: Laboratory, arm: str, seed: int, rate: float, steps: int, schedule: str
) -> Training:
    return laboratory.train(
        _TASK,
        name(arm, "", seed, f"lr{rate:g}-{steps}"),
        lr=rate,
        seed=seed,
        steps=steps,
        every=laboratory.plan.every,
        schedule=schedule,
    )


@contextmanager
def _services(laboratory: Laboratory) -> Iterator[None]:
    """Have an endpoint to ask: the user's, or else the scripted one."""
    address = laboratory.plan.options["base_url"]
    if address:
        laboratory.services["base_url"] = address
        yield
        return
    with endpoint.serving() as own:
        laboratory.services["base_url"] = own
        yield


def _remarks(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    model = plan.options["model"]
    lines = [
        f"At {case} `restarts` ended lower than `llm branching`: that rate is too high from the "
        "first update on, so that every node to go back to but the first was trained with it."
        for case, rate in plan.cases.items()
        if rate > _RATE
        and _mean(outcomes, "restarts", case) < _mean(outcomes, "llm branching", case)
    ]
    if plan.options["base_url"]:
        return [f"The language model is {model}.", *lines]
    return [
        "The arms `llm`, `llm branching` and `restarts` were answered by the scripted endpoint: a "
        "rule behind the same HTTP path, which shows that path and not what a model can do. Its "
        "tokens are estimated, four characters each.",
        *lines,
    ]


def _mean(outcomes: Sequence[Outcome], arm: str, case: str) -> float:
    losses = [recorded.rank(o.loss) for o in outcomes if (o.arm, o.case) == (arm, case)]
    return statistics.fmean(losses) if losses else math.nan


_AGENT: dict[str, list[str]] = {
    "plateau": ["--policy", "plateau", "--mode", "act", "--option", "patience=1",
                "--option", "min_delta=0.005", "--budget", "per_1000_steps=1000"],
    "guard": ["--policy", "guard", "--mode", "act", "--option", "stuck=20",
              "--budget", "per_1000_steps=1000", "--budget", "branches=50"],
}  # fmt: skip

ARMS: tuple[Arm, ...] = (
    Arm("nothing", "the rate stays as it is", _one("nothing")),
    Arm(
        "plateau",
        "`branchtrack agent --policy plateau` halves the rate when nothing improves",
        _one("plateau", _AGENT["plateau"]),
    ),
    Arm(
        "guard",
        "`branchtrack agent --policy guard` goes back to a healthy node, with half the rate",
        _one("guard", _AGENT["guard"]),
    ),
    Arm(
        "llm",
        "`branchtrack agent --policy llm` may double the rate, halve it, or keep it",
        _asked("llm"),
    ),
    Arm(
        "llm branching",
        "it may also go back to any node and on from there as a new branch, with another rate",
        _asked("llm branching"),
    ),
    Arm(
        "restarts",
        "it may keep the rate, or begin from scratch with another one",
        _asked("restarts"),
    ),
    Arm(
        "tuned schedule",
        "half of the updates on short trials of some rates with a cosine, the rest with the best",
        _tuned,
        per_case=False,
    ),
    Arm(
        "random search",
        "as many short trainings at rates drawn log-uniformly from 1e-4 to 1e-1; the best of them",
        _random,
        per_case=False,
    ),
)

STUDY = Study(
    name="llm",
    title="A language model in the loop",
    question=(
        "A network of GPT-2's shape learns text from scratch without any schedule, at a learning "
        "rate of 5e-3 and at 10 and 30 times that. Does a controller that looks after every few "
        "updates help, and does it help more if it may branch?"
    ),
    arms=ARMS,
    plan=plan,
    expected=(2, 12),
    services=_services,
    remarks=_remarks,
)
