"""What can be requested of a resume or a live run beyond each setting's own bounds.

It decides from values alone, and knows no database, no launch and no optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from branchtrack.core import schedules
from branchtrack.core.builtin_settings import (
    ACCEPT,
    HORIZON,
    MAX_STEPS,
    RESHUFFLE,
    RESIZE,
    SCHEDULE_FROM,
    SCHEDULER,
    SEED,
    STOP_AT,
)
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

HORIZONS = (
    "extend (continue from the current rate and spread the rest of the schedule over the "
    "remaining steps), rescale (the schedule as if it had been made for the new max_steps from "
    "step 0)"
)
#: What happens to each part of the state if only the weights are loaded.
WEIGHTS_ONLY = {
    "weights": "restored",
    "optimizer": "reset",
    "scheduler": "reset",
    "rng": "reset",
    "data position": "reset",
    "counters": "reset",
}
_MODEL = "model/"


#: Schedules that begin here cover the remaining steps; the horizon does not apply.
ANEW = ("restart", "hold")
#: Schedules whose shape takes no warm-up.
_NO_WARMUP = ("constant", *schedules.WATCHING)


def offered(declared: Mapping[str, Setting], settings: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the settings declared by a process that a resume of a node may change.

    ``settings`` are the node's own, which lists no details and no directives.
    """
    changeable = {
        name: setting for name, setting in declared.items() if name in settings or setting.detail
    }
    if changeable:
        changeable |= {setting.name: setting for setting in (STOP_AT, ACCEPT, RESIZE)}
    if SEED.name in changeable:
        changeable[RESHUFFLE.name] = RESHUFFLE
    if schedules.KIND in settings:
        # If the script does not make the schedule itself.
        changeable[SCHEDULE_FROM.name] = SCHEDULE_FROM
        changeable |= {HORIZON.name: HORIZON} if "max_steps" in changeable else {}
    return changeable


def check_mode(mode: str, overrides: Mapping[str, Any]) -> None:
    """Refuse overrides that a mode of resuming cannot use.

    Raises:
        InvalidInput: naming the override.
    """
    if mode == "exact" and overrides.get(RESIZE.name):
        raise InvalidInput(
            RESIZE.name,
            True,
            "resize together with --mode weights",
            what="An exact resume needs tensors of the same sizes: resize has no effect.",
        )
    if mode == "weights" and ACCEPT.name in overrides:
        raise InvalidInput(
            ACCEPT.name,
            overrides[ACCEPT.name],
            "accept together with --mode exact",
            what="With --mode weights nothing of the script is compared: accept has no effect.",
        )


def check_stop(
    step: int, settings: Mapping[str, Any], overrides: Mapping[str, Any], mode: str = "exact"
) -> None:
    """Refuse a ``stop_at`` that is not between the step and the end of training, if that is known.

    ``settings`` are the node's; with only the weights the script sets the end.

    Raises:
        InvalidInput: naming ``stop_at``, and the steps that are allowed.
    """
    stop = overrides.get(STOP_AT.name)
    if stop is None:
        return
    end = overrides.get(MAX_STEPS.name, settings.get(MAX_STEPS.name) if mode == "exact" else None)
    # Where nothing is left to train, that is what is wrong: see `control.launch_settings`.
    most = end if end is not None and end > step else None
    if stop <= step or (most is not None and stop > most):
        allowed = f"a whole number greater than {step}"
        raise InvalidInput(
            STOP_AT.name, stop, allowed if most is None else f"{allowed}, up to {most}"
        )


def check_reshuffle(overrides: Mapping[str, Any]) -> None:
    """Refuse to draw the rest of an epoch anew without the seed to draw it from.

    Raises:
        InvalidInput: naming ``reshuffle``.
    """
    if overrides.get(RESHUFFLE.name) and SEED.name not in overrides:
        raise InvalidInput(
            RESHUFFLE.name,
            True,
            "reshuffle together with seed",
            what="The rest of the epoch is drawn anew from a seed, and no seed was given.",
        )


def check_schedule_left(
    step: int,
    settings: Mapping[str, Any],
    overrides: Mapping[str, Any],
    groups: Sequence[Mapping[str, Any]],
) -> None:
    """Refuse to spread a schedule that has ended over more steps at a rate of 0.

    ``groups`` are the optimizer's at the node, with their rates.

    Raises:
        InvalidInput: every further update would be made with a rate of 0.
    """
    before, kind = settings.get("max_steps"), overrides.get(schedules.KIND)
    is_over = before is not None and step >= before
    if not is_over or overrides.get(HORIZON.name) != "extend":
        return
    rates = [group["lr"] for group in groups if isinstance(group.get("lr"), (int, float))]
    if kind in schedules.TO_ZERO or (kind is None and rates and not any(rates)):
        raise InvalidInput(
            HORIZON.name,
            "extend",
            "horizon=rescale (the schedule as if it had been made for "
            f"{overrides.get('max_steps')} steps), or instead of a horizon schedule_from=restart "
            "(a new schedule over the remaining steps) or lr_scheduler_type=constant",
            what=f"At step {step} the schedule has ended: nothing of it is left to spread, and "
            "every update would be made with a learning rate of 0.",
        )


def check_length(
    step: int, settings: Mapping[str, Any], overrides: Mapping[str, Any], mode: str = "exact"
) -> None:
    """Check that ``max_steps``, ``horizon``, ``schedule_from`` and the warm-up fit together.

    ``settings`` are the current ones. With only the weights the schedule is a fresh one.

    Raises:
        InvalidInput: naming the one that does not fit.
    """
    before = settings.get("max_steps")
    last, horizon = overrides.get("max_steps", before), overrides.get("horizon")
    is_anew = overrides.get(SCHEDULE_FROM.name) in ANEW
    if "max_steps" in overrides and last <= step:
        raise InvalidInput("max_steps", last, f"a whole number greater than {step}, the step")
    if mode == "weights":
        return
    if horizon is not None and last == before:
        raise InvalidInput("horizon", horizon, "horizon only together with another max_steps")
    if horizon is not None and is_anew:
        raise InvalidInput(
            "horizon",
            horizon,
            "no horizon together with schedule_from=restart or hold",
            what="A schedule that begins here covers the remaining steps: horizon has no effect.",
        )
    if SCHEDULER.name in settings:
        # A custom loop, whose schedule only its script makes.
        return
    schedule = overrides.get(schedules.KIND, settings.get(schedules.KIND))
    if schedule is None:
        # A scheduler that the script made itself continues as it is.
        return
    if last != before and horizon is None and not is_anew and schedule not in schedules.ENDLESS:
        raise InvalidInput(
            "horizon",
            None,
            HORIZONS,
            what=f"With max_steps {last} instead of {before}, horizon must say what happens to "
            "the schedule.",
        )
    if last is not None and schedule not in _NO_WARMUP:
        _check_warmup(step, settings, overrides, last)


def too_late(step: int, value: Any) -> InvalidInput:
    """Return the refusal of another end once training has ended."""
    return InvalidInput(
        "max_steps",
        value,
        "a resume of the final node: branchtrack resume NODE --set max_steps=N",
        what=f"Training ends at this step, {step}: the request to continue came too late.",
    )


def _check_warmup(
    step: int, settings: Mapping[str, Any], overrides: Mapping[str, Any], last: int
) -> None:
    origin = overrides.get(SCHEDULE_FROM.name)
    warmup = overrides.get("warmup_steps", settings.get("warmup_steps", 0))
    most = last - step if origin == "restart" else last
    names = [n for n in ("warmup_steps", "max_steps", SCHEDULE_FROM.name) if n in overrides]
    if names and origin != "hold" and warmup >= most:
        raise InvalidInput(
            names[0],
            overrides[names[0]],
            f"a warm-up of less than {most} updates",
            what=f"The warm-up of {warmup} updates would not be over when training ends, "
            f"{most} updates after its beginning.",
        )


def check_schedule(
    settings: Mapping[str, Any], overrides: Mapping[str, Any], script: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Check a declared schedule's arguments and what it follows; return all the overrides.

    A schedule of another kind begins without the arguments of the node's, which is a change too.
    ``script`` is what the node's script requested, if that was recorded.

    Raises:
        InvalidInput: naming the argument, or the schedule that cannot be followed.
    """
    before, had = settings.get(schedules.KIND), settings.get(schedules.KWARGS)
    kind = overrides.get(schedules.KIND, before)
    if kind is None or not overrides.keys() & {schedules.KIND, schedules.KWARGS}:
        return dict(overrides)
    text = overrides.get(schedules.KWARGS, had if kind == before else "")
    schedules.check(kind, text or "")
    follows = kind in schedules.WATCHING and kind != before
    if follows and (script or {}).get("eval_strategy") == "no":
        raise InvalidInput(
            schedules.KIND,
            kind,
            "a schedule that needs no evaluation",
            what=f"{kind} follows the evaluation loss, and the script does not evaluate.",
        )
    implied = {} if (text or "") == (had or "") else {schedules.KWARGS: text}
    return {**overrides, **implied}


def check_frozen(patterns: str, tensors: Iterable[str]) -> None:
    """Check that each of ``patterns`` names a part of the model, and something is left to train.

    Raises:
        InvalidInput: a pattern that matches no ``model/`` tensor, or patterns that match them all.
    """
    names = {name.removeprefix(_MODEL) for name in tensors if name.startswith(_MODEL)}
    frozen: set[str] = set()
    for pattern in filter(None, (entry.strip() for entry in patterns.split(","))):
        matched = {name for name in names if _matches(name, pattern)}
        if not matched:
            raise InvalidInput("frozen", pattern, "names or patterns of modules the model has")
        frozen |= matched
    if names and frozen == names:
        raise InvalidInput("frozen", patterns, "patterns that leave something to train")


def freezes_all(patterns: str, names: Iterable[str]) -> bool:
    """Return whether ``patterns`` freeze all the parameters in ``names``, if there are any."""
    listed = [entry.strip() for entry in patterns.split(",") if entry.strip()]
    parameters = list(names)
    return bool(parameters) and all(
        any(_matches(name, pattern) for pattern in listed) for name in parameters
    )


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))
