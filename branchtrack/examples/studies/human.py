"""The study `human`: what a person did to one training, made again on others.

The recordings are those of a session at the shell: a training with a poor schedule was paused, its
curves were looked at, and the rate was changed, six times. One of the six was a mistake, which the
next one takes back. `branchtrack interventions RUN --by ...` wrote them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from branchtrack.environment_variables import REPLAY_VARIABLE
from branchtrack.examples.studies import recorded
from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.study import Arm, Study, Train

_TASK = "text"
RECORDINGS = Path(__file__).with_name("recordings")
#: The poor rate of the recorded session, and one that its author would have begun with.
_POOR, _KNOWN = 2e-4, 4e-3
_CASES: dict[str, dict[str, int]] = {
    "other seeds": {},
    "size 96": {"size": 96},
    "batch 8": {"batch": 8},
}


def plan(quick: bool, seeds: int | None = None) -> Plan:
    """Return the size of the study; the recorded training had 400 updates and seed 0."""
    return Plan(
        cases={"size 96": _CASES["size 96"]} if quick else _CASES,
        seeds=range(1, 1 + (seeds or (2 if quick else 3))),
        steps=80 if quick else 400,
        every=20,
        quick=quick,
    )


def _train(arm: str, rate: float = _POOR, moments: str = "") -> Train:
    """Return how an arm trains: with a rate, and with the recording that has such moments."""

    def train(laboratory: Laboratory, case: str, seed: int) -> Outcome:
        size = laboratory.plan
        chosen = moments
        if size.quick and moments == "step":
            # The recorded steps are beyond its end.
            chosen = "fraction"
        variables = {REPLAY_VARIABLE: str(recording(chosen))} if chosen else {}
        options: dict[str, Any] = {"lr": rate, "schedule": "cosine", **size.cases[case]}
        name = f"{arm}-{case}-s{seed}".replace(" ", "_")
        training = laboratory.train(
            _TASK,
            name,
            variables=variables,
            seed=seed,
            steps=size.steps,
            every=size.every,
            **options,
        )
        return recorded.outcome(arm, case, seed, [training])

    return train


def recording(moments: str) -> Path:
    """Return the recording whose moments are steps, fractions, or losses (``eval_loss``)."""
    return RECORDINGS / f"human-{moments}.jsonl"


def _remarks(size: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    del outcomes
    sentences = [
        "The recording is of one session of a person at the shell, on seed 0, width 64 and batches "
        "of 16; it is in `branchtrack/examples/studies/recordings/`. Nobody chose it among others."
    ]
    if size.quick:
        sentences.append("The quick variant replays the moments as parts of its fewer updates.")
    return sentences


ARMS: tuple[Arm, ...] = (
    Arm("poor schedule", f"a cosine from {_POOR:g}, nobody intervenes", _train("poor schedule")),
    Arm(
        "replayed by step",
        "the same, with the recorded changes after the same updates",
        _train("replayed by step", moments="step"),
    ),
    Arm(
        "replayed by loss",
        "the same, with each change once the held-out loss is what it was then",
        _train("replayed by loss", moments="eval_loss"),
    ),
    Arm(
        "known schedule",
        f"a cosine from {_KNOWN:g}, about what the person ended at: what hindsight would give",
        _train("known schedule", _KNOWN),
    ),
)

STUDY = Study(
    name="human",
    title="A human in the loop",
    question=(
        "A person steered one training whose schedule was poor. Do the recorded changes help on "
        "other seeds, another size and another batch size, too?"
    ),
    arms=ARMS,
    plan=plan,
    expected=(1, 7),
    remarks=_remarks,
)
