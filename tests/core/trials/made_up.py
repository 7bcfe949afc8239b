"""Trials with made-up pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchtrack.core.trials.looks import levels, looks
from branchtrack.core.trials.records import DONE, RUNNING, Arm, Pair, Side, Spec, Trial


def spec(repeats: int = 8, arms: int = 1, **facts: Any) -> Spec:
    """A trial of lr=x0.9 from one node."""
    at = looks(repeats)
    made: dict[str, Any] = {
        "nodes": ("a" * 16,),
        "arms": tuple(Arm(f"lr=x0.{9 - n}", {"lr": f"x0.{9 - n}"}) for n in range(arms)),
        "metric": "eval_loss",
        "steps": 50,
        "repeats": repeats,
        "at": at,
        "levels": levels(at, 0.05 / arms),
    }
    return Spec(**{**made, **facts})


def side(value: float | None, digest: str = "", **facts: Any) -> Side:
    """A training that ended with that value."""
    made = {"launch": "b" * 16, "branch_id": "c" * 16, "branch": "trial-1", "state": DONE}
    return Side(**{**made, "value": value, "digest": digest, **facts})


def pairs(*values: Sequence[float | None], node: str = "a" * 16) -> tuple[Pair, ...]:
    """Pairs with the values of the control and of each arm; each ended in a state of its own."""
    return tuple(
        Pair(
            number,
            node,
            100,
            number,
            tuple(side(value, f"{number}-{n}") for n, value in enumerate(row)),
        )
        for number, row in enumerate(values, 1)
    )


def trial(made: Spec | None = None, *rows: Sequence[float | None], **facts: Any) -> Trial:
    """A trial with pairs of these values."""
    plan = made or spec()
    base: dict[str, Any] = {
        "id": "d" * 16,
        "run_id": "e" * 16,
        "group_id": "f" * 16,
        "kind": "trial",
        "subject": None,
        "spec": plan,
        "pairs": pairs(*rows),
        "state": RUNNING,
        "verdicts": (None,) * len(plan.arms),
        "error": "",
        "actor": "ann",
        "reason": "",
        "created_at": 1e9,
        "updated_at": 1e9,
    }
    return Trial(**{**base, **facts})
