"""Carrying out one request on live objects, at a control point or again in a rehearsal.

An error in a request is its answer; nothing here ends training. It knows no database.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from branchtrack.core import preconditions
from branchtrack.core.interventions import SETTING_KINDS
from branchtrack.core.records import Change, Request
from branchtrack.core.settings import DIRECTIVES
from branchtrack.errors import InvalidInput
from branchtrack.training.settings import apply, lr_forecast, modules, shadow_step
from branchtrack.training.settings.apply import Live
from branchtrack.training.steer import author_actions, reset
from branchtrack.training.steer.answers import Answer

logger = logging.getLogger("branchtrack")

Actions = Mapping[str, Callable[..., Any]]


def carry_out(request: Request, live: Live, step: int, actions: Actions) -> Answer | None:
    """Make a change, reset modules or call an action; return None for another kind of request.

    Conditions are checked first, where nothing can come in between.
    """
    answer = Answer(request)
    try:
        late = preconditions.overdue(request.conditions, step=step, now=time.time())
        if late:
            answer.state, answer.error = "expired", late
            return answer
        unmet = request.conditions.get("only_if") and preconditions.unmet(
            request.conditions, apply.read_all(live, details=True)
        )
        if unmet:
            answer.state, answer.error = "failed", f"{unmet} Nothing was changed."
            return answer
        if request.kind in SETTING_KINDS:
            _change(answer, live, requested_settings(request, live))
        elif request.kind == "reset":
            answer.result = reset.reset(live, request.requested["modules"])
            answer.state = "done"
        elif request.kind == "act":
            answer.result = author_actions.call(
                _function(actions, request), request.requested.get("arguments", {})
            )
            answer.state = "done"
        else:
            return None
    except (Exception, SystemExit) as error:
        # sys.exit() in an action ends that action, not the training.
        fail(answer, error)
    return answer


def again(request: Request, live: Live, actions: Actions) -> None:
    """Make the change of a request once more, as it was made then, whatever its conditions."""
    if request.kind in SETTING_KINDS:
        apply.write_all(live, apply.resolved(live, requested_settings(request, live)))
    elif request.kind == "reset":
        reset.reset(live, request.requested["modules"])
    else:
        author_actions.call(_function(actions, request), request.requested.get("arguments", {}))


def requested_settings(request: Request, live: Live) -> dict[str, Any]:
    """Return the settings that a request changes, by name."""
    if request.kind == "set":
        return dict(request.requested["values"])
    frozen = request.kind == "freeze"
    text = modules.with_frozen(live.model, request.requested["modules"], frozen=frozen)
    return {"frozen": text}


def fail(answer: Answer, error: Exception | SystemExit) -> None:
    """Record an error as the answer."""
    is_refusal = isinstance(error, InvalidInput)
    logger.warning(
        "branchtrack could not carry out %s: %s",
        answer.request.id,
        error,
        exc_info=None if is_refusal else error,
    )
    answer.state = "failed"
    answer.error = str(error) if is_refusal else f"{type(error).__name__}: {error}"


def remarks(answers: list[Answer]) -> tuple[Change, ...]:
    """Return a node's entries for those of its answers that are not settings."""
    changes = []
    for answer in answers:
        if answer.state == "done" and answer.request.kind == "reset":
            changes.append(Change("reset", None, answer.request.requested["modules"]))
        elif answer.state == "done" and answer.request.kind == "act":
            requested = answer.request.requested
            changes.append(
                Change(f"act.{requested['action']}", None, requested.get("arguments", {}))
            )
    return tuple(changes)


def _change(answer: Answer, live: Live, values: dict[str, Any]) -> None:
    answer.settings = apply.resolved(live, values)
    current = {**live.fixed, **apply.read_all(live, details=True)}
    before = shadow_step.options(live)
    answer.foreseen = lr_forecast.next_rates(live)
    answer.applied = apply.write_all(live, answer.settings)
    answer.before = {name: current.get(name) for name in answer.applied}
    answer.settings = {n: v for n, v in answer.settings.items() if n not in DIRECTIVES}
    answer.options = before, shadow_step.options(live)
    data = [
        name for name in answer.settings if live.data is not None and name in live.data.declared
    ]
    if data and live.data is not None:
        answer.result = {"from_sample": dict.fromkeys(data, live.data.from_sample)}


def _function(actions: Actions, request: Request) -> Callable[..., Any]:
    name = request.requested["action"]
    if name not in actions:
        raise InvalidInput("action", name, ", ".join(sorted(actions)) or "none")
    return actions[name]
