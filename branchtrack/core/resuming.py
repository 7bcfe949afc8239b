"""What a resume may ask for beyond each setting's own bounds, decided from values alone.

It knows no database, no launch and no optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from branchtrack.core.settings import SCHEDULER
from branchtrack.errors import InvalidInput

#: Schedules whose rate at a step does not depend on how many steps there will be.
ENDLESS = (
    "constant", "constant_with_warmup", "inverse_sqrt", "reduce_lr_on_plateau", "greedy",
)  # fmt: skip
HORIZONS = (
    "extend (go on from the rate in force and spread what is left of the schedule over the steps "
    "that are left), rescale (the schedule as if it had been meant for the new max_steps from "
    "step 0)"
)
#: What becomes of each part of the state where the weights alone are taken.
WEIGHTS_ONLY = {
    "weights": "restored", "optimizer": "reset", "scheduler": "reset", "rng": "reset",
    "data position": "reset", "counters": "reset",
}  # fmt: skip
_MODEL = "model/"


def check_length(step: int, settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """That ``max_steps`` and ``horizon`` fit each other and a node at ``step``.

    Raises:
        InvalidInput: naming the one that does not.
    """
    before = settings.get("max_steps")
    last, horizon = overrides.get("max_steps", before), overrides.get("horizon")
    if "max_steps" in overrides and last <= step:
        raise InvalidInput("max_steps", last, f"a whole number greater than the node's step {step}")
    if horizon is not None and last == before:
        raise InvalidInput("horizon", horizon, "horizon only together with another max_steps")
    if SCHEDULER.name in settings:
        # A loop of its author's own, whose script alone makes its schedule.
        return
    schedule = overrides.get("lr_scheduler_type", settings.get("lr_scheduler_type"))
    if last != before and horizon is None and schedule not in ENDLESS:
        raise InvalidInput(
            "horizon", None, HORIZONS,
            what=f"With max_steps {last} instead of {before}, horizon must say what becomes of "
            "the schedule.",
        )  # fmt: skip


def check_frozen(patterns: str, tensors: Iterable[str]) -> None:
    """That each of ``patterns`` names a part of the model, and that something is left to train.

    Raises:
        InvalidInput: a pattern that matches no ``model/`` tensor, or patterns that match them all.
    """
    names = {name.removeprefix(_MODEL) for name in tensors if name.startswith(_MODEL)}
    frozen: set[str] = set()
    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        matched = {name for name in names if _matches(name, pattern)}
        if not matched:
            raise InvalidInput("frozen", pattern, "names or patterns of modules the model has")
        frozen |= matched
    if names and frozen == names:
        raise InvalidInput("frozen", patterns, "patterns that leave something to train")


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))
