"""Executing one request at a control point: one function for each kind; some once more in a replay.

An error in a request is its answer; nothing here ends training. It knows no database.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from branchtrack.core import preconditions
from branchtrack.core.builtin_settings import DIRECTIVES
from branchtrack.core.forks.relative_values import may_be_relative, resolved
from branchtrack.core.interventions import INTERVENTIONS
from branchtrack.core.overrides import freezes_all
from branchtrack.core.records import Change, Request
from branchtrack.core.shards.composition import NO_SHARDS
from branchtrack.errors import InvalidInput
from branchtrack.training.settings import apply, lr_forecast, modules, shadow_step
from branchtrack.training.settings.apply import Live
from branchtrack.training.steer import author_actions, reset
from branchtrack.training.steer.answers import Answer

logger = logging.getLogger("branchtrack")

Actions = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Scene:
    """What requests are executed on: live objects, the author's actions, and the training itself.

    ``evaluate`` returns the metrics as they are recorded; ``hold`` holds training after this
    control point, and ``release`` ends one pause or all, and returns whether others hold it still;
    ``stop`` ends it, and ``suspend`` ends its process for a pause; ``rewind`` prepares the branch
    to continue in, and returns what the answer says of it.
    """

    live: Live
    step: int
    actions: Actions
    evaluate: Callable[[], dict[str, Any]]
    hold: Callable[[Request], None]
    release: Callable[[Request], bool]
    stop: Callable[[], None]
    suspend: Callable[[], None]
    rewind: Callable[[Request], dict[str, Any]]


def execute(request: Request, scene: Scene) -> Answer:
    """Execute a request, and return its answer.

    Conditions are checked first, where nothing can come in between.
    """
    refused = refusal(request, scene.live, scene.step)
    if refused is not None:
        return refused
    answer = Answer(request)
    try:
        if INTERVENTIONS[request.kind].awaits_of(request.requested) == "answer":
            answer.state = "done"
        EXECUTORS[request.kind](answer, scene)
    except Exception as error:
        fail(answer, error)
    except SystemExit as error:
        if request.kind not in REPLAYERS:
            raise
        # sys.exit() in an action ends that action, not the training.
        fail(answer, error)
    return answer


def refusal(request: Request, live: Live, step: int) -> Answer | None:
    """Return the answer to a request that comes too late, or whose conditions do not hold."""
    late = preconditions.overdue(request.conditions, step=step, now=time.time())
    if late:
        return Answer(request, "expired", late)
    if not request.conditions.get("only_if"):
        return None
    try:
        unmet = preconditions.unmet(request.conditions, apply.read_all(live, details=True))
    except Exception as error:
        answer = Answer(request)
        fail(answer, error)
        return answer
    return Answer(request, "failed", f"{unmet} Nothing was changed.") if unmet else None


def replay(request: Request, live: Live, actions: Actions) -> None:
    """Make the change of a request once more, as it was made then, whatever its conditions."""
    REPLAYERS[request.kind](request, live, actions)


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
    done = [answer.request for answer in answers if answer.state == "done"]
    entries = (INTERVENTIONS[request.kind].remark_of(request.requested) for request in done)
    return tuple(Change(name, None, value) for name, value in filter(None, entries))


def _set(answer: Answer, scene: Scene) -> None:
    _change(answer, scene.live, _values(answer.request, scene.live))


def _freeze(answer: Answer, scene: Scene) -> None:
    _change(answer, scene.live, _frozen(answer.request, scene.live))


def _data(answer: Answer, scene: Scene) -> None:
    _change(answer, scene.live, _shards(answer.request, scene.live))


def _reset(answer: Answer, scene: Scene) -> None:
    answer.result = reset.reset(scene.live, answer.request.requested["modules"])


def _act(answer: Answer, scene: Scene) -> None:
    answer.result = _call(answer.request, scene.live, scene.actions)


def _evaluate(answer: Answer, scene: Scene) -> None:
    answer.result = {"metrics": scene.evaluate()}


def _checkpoint(answer: Answer, scene: Scene) -> None:
    """Do nothing: the node is committed for the answer."""


def _pause(answer: Answer, scene: Scene) -> None:
    if answer.request.requested.get("free"):
        # Done when training has ended, as a stop.
        scene.suspend()
    else:
        scene.hold(answer.request)


def _unpause(answer: Answer, scene: Scene) -> None:
    if scene.release(answer.request):
        answer.result = {"paused": "Another pause holds the training."}


def _stop(answer: Answer, scene: Scene) -> None:
    # Done when training has ended: a loop might continue.
    scene.stop()


def _rewind(answer: Answer, scene: Scene) -> None:
    answer.result = scene.rewind(answer.request)
    scene.stop()


#: How each kind that needs a process is executed.
EXECUTORS: dict[str, Callable[[Answer, Scene], None]] = {
    "set": _set,
    "pause": _pause,
    "unpause": _unpause,
    "stop": _stop,
    "evaluate": _evaluate,
    "checkpoint": _checkpoint,
    "rewind": _rewind,
    "freeze": _freeze,
    "unfreeze": _freeze,
    "data": _data,
    "reset": _reset,
    "act": _act,
}


def _values(request: Request, live: Live) -> dict[str, Any]:
    """Return the values to set: of a scheduled request relative ones are computed only now."""
    values: dict[str, Any] = dict(request.requested["values"])
    if not may_be_relative(values):
        return values
    current = {**live.fixed, **apply.read_all(live, details=True)}
    return resolved(values, {setting.name: setting for setting in apply.declare(live)}, current)


def _frozen(request: Request, live: Live) -> dict[str, Any]:
    frozen = request.kind == "freeze"
    text = modules.with_frozen(live.model, request.requested["modules"], frozen=frozen)
    if frozen and freezes_all(text, (name for name, _ in live.model.named_parameters())):
        # At the door only what was frozen then could be seen.
        allowed = "patterns that leave something to train"
        raise InvalidInput("modules", request.requested["modules"], allowed)
    return {"frozen": text}


def _shards(request: Request, live: Live) -> dict[str, Any]:
    if live.data is None:
        raise InvalidInput("kind", "data", "the other actions", what=NO_SHARDS)
    return live.data.shards.changed(request.requested)


def _call(request: Request, live: Live, actions: Actions) -> Any:
    name = request.requested["action"]
    if name not in actions:
        raise InvalidInput("action", name, ", ".join(sorted(actions)) or "none")
    return author_actions.call(actions[name], request.requested.get("arguments", {}))


def _set_again(request: Request, live: Live, actions: Actions) -> None:
    apply.write_all(live, apply.normalize(live, _values(request, live)))


def _freeze_again(request: Request, live: Live, actions: Actions) -> None:
    apply.write_all(live, apply.normalize(live, _frozen(request, live)))


def _data_again(request: Request, live: Live, actions: Actions) -> None:
    apply.write_all(live, apply.normalize(live, _shards(request, live)))


def _reset_again(request: Request, live: Live, actions: Actions) -> None:
    reset.reset(live, request.requested["modules"])


#: How each kind that a certificate replays is made once more.
REPLAYERS: dict[str, Callable[[Request, Live, Actions], Any]] = {
    "set": _set_again,
    "freeze": _freeze_again,
    "unfreeze": _freeze_again,
    "data": _data_again,
    "reset": _reset_again,
    "act": _call,
}


def _change(answer: Answer, live: Live, values: dict[str, Any]) -> None:
    answer.settings = apply.normalize(live, values)
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
