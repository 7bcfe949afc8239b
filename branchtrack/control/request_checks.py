"""Whether a request can be carried out, as far as it can be known before its process sees it.

It stores nothing, and knows no trainer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.control import continuation, launch_settings
from branchtrack.core import (
    actors,
    capabilities,
    interventions,
    lifecycle,
    plain_values,
    preconditions,
)
from branchtrack.core.actors import Actor
from branchtrack.core.builtin_settings import declared
from branchtrack.core.forks.relative_values import relative_names, resolved
from branchtrack.core.interventions import (
    ChangeData,
    Freeze,
    Intervention,
    Rewind,
    SetSettings,
    Unpause,
)
from branchtrack.core.names import free_name, valid_name
from branchtrack.core.overrides import check_length, freezes_all
from branchtrack.core.records import Branch, Segment
from branchtrack.core.settings import Setting
from branchtrack.core.shards.composition import check_names
from branchtrack.db import nodes, requests, runs, segments
from branchtrack.db.storage.compositions import composition_of
from branchtrack.errors import InvalidInput, NameTaken, NotLive


@dataclass(frozen=True)
class CheckedRequest:
    """A valid request: the intervention, and its conditions in the form that is stored.

    ``wakes``: it needs a new process, as the branch's own has ended for a pause; ``command`` starts
    it, if that is not the recorded one.
    """

    intervention: Intervention
    conditions: dict[str, Any]
    wakes: bool = False
    command: dict[str, Any] | None = None


def live_segment(connection: Connection, branch: Branch) -> Segment:
    """Return the segment in which a process trains ``branch`` now.

    Raises:
        NotLive: no process trains it; the error lists the run's branches that are training.
    """
    if branch.segment_id is not None:
        segment = segments.get(connection, branch.segment_id)
        if lifecycle.segment_status(segment, time.time()) in lifecycle.LIVE:
            return segment
    # Why not, and what is trained instead: a statement for each branch of the run.
    current = {
        other.name: segments.get(connection, other.segment_id)
        for other in runs.list_branches(connection, branch.run_id)
        if other.segment_id is not None
    }
    now = time.time()
    statuses = {name: lifecycle.segment_status(segment, now) for name, segment in current.items()}
    status = statuses.get(branch.name, "empty")
    run = runs.get_run(connection, branch.run_id)
    live = [f"{run.name}/{name}" for name, word in statuses.items() if word in lifecycle.LIVE]
    fix = f"`branchtrack tree {run.name}` lists the nodes that can be resumed."
    if status == "waiting":
        fix = "Its process has not begun to train; try again when it has."
    elif status == lifecycle.SUSPENDED:
        fix = f"Its pause has ended its process: `branchtrack unpause {run.name}/{branch.name}`."
    elif live:
        fix = f"Training now: {', '.join(live)}."
    raise NotLive(
        f"Nothing trains {run.name}/{branch.name} now: it is {lifecycle.shown(status)}.",
        safe="Nothing was changed.",
        fix=fix,
        branch=branch.name,
        status=status,
    )


def check_request(
    connection: Connection,
    branch: Branch,
    payload: Mapping[str, Any],
    who: Actor,
    why: str,
    when: Mapping[str, Any] | None,
    home: Path | None = None,
) -> CheckedRequest:
    """Check all that can be known of a request before the training process sees it.

    Raises:
        InvalidInput, NotLive, Forbidden, RateLimited, NotFound, LaunchFailed.
    """
    actors.check(who, "request")
    actors.check_reason(who, why)
    plain_values.check(payload, "")
    plain_values.check(when or {}, "")
    typed = interventions.read(payload)
    actors.check(who, "request", typed.names_of(typed.model_dump()))
    if who.limit is not None and who.token_id is not None:
        actors.check_limit(who, requests.count_recent(connection, branch.run_id, who.token_id))
    if not typed.needs_process:
        return CheckedRequest(typed, _until(when or {}))
    if isinstance(typed, Unpause) and typed.pause is not None:
        typed = _check_unpause(connection, branch, typed)
    elif isinstance(typed, Unpause) and continuation.is_suspended(connection, branch):
        actors.check(who, "launch", ["unpause"])
        if preconditions.is_scheduled(when or {}):
            raise InvalidInput(
                "at_step" if (when or {}).get("at_step") is not None else "once",
                when,
                "nothing: no process trains that could wait for it",
            )
        command = continuation.check_wakeable(connection, branch, home)
        return CheckedRequest(typed, {}, wakes=True, command=command)
    segment = live_segment(connection, branch)
    if who.channel == "api":
        _refuse_words(typed, declared(segment.declared))
    checked = check_fit(typed, when or {}, segment)
    if isinstance(checked.intervention, ChangeData) and not preconditions.is_scheduled(when or {}):
        # What the data has at a later moment is seen by the process alone.
        _check_shards(connection, checked.intervention, segment)
    if isinstance(checked.intervention, Rewind):
        rewind = _check_rewind(connection, branch, checked.intervention)
        return CheckedRequest(rewind, checked.conditions)
    return checked


def check_fit(typed: Intervention, when: Mapping[str, Any], segment: Segment) -> CheckedRequest:
    """Check an intervention and its conditions against what a segment's process declared.

    Relative values of a scheduled one are computed when it is carried out.

    Raises:
        InvalidInput: they do not fit it.
    """
    declarations = declared(segment.declared)
    is_scheduled, relative = preconditions.is_scheduled(when), {}
    if isinstance(typed, SetSettings) and is_scheduled:
        names = relative_names(typed.values, declarations)
        relative = {name: typed.values[name] for name in names}
        values = resolved(typed.values, declarations, segment.settings)
        typed = typed.model_copy(update={"values": values})
    elif isinstance(typed, SetSettings):
        typed, when = _absolute(typed, declarations, segment, when)
    intervention = typed.validated(declarations, capabilities.read(segment.offers))
    conditions = preconditions.parse(
        when, declarations, step=segment.step, now=time.time(), end=segment.max_steps
    )
    if is_scheduled:
        _check_one_moment(intervention, when)
    elif isinstance(intervention, Freeze):
        _check_trains_on(intervention, segment)
    if isinstance(intervention, SetSettings):
        # This is what can be seen from here; the process checks again.
        step = conditions.get("at_step", segment.step)
        check_length(step, segment.settings, intervention.values)
        values = {**intervention.values, **relative}
        intervention = intervention.model_copy(update={"values": values})
    return CheckedRequest(intervention, conditions)


def _check_one_moment(intervention: Intervention, when: Mapping[str, Any]) -> None:
    """Refuse two moments to wait for: one of the intervention's own, and a schedule.

    Raises:
        InvalidInput: naming the schedule.
    """
    own = getattr(intervention, "when", "now")
    if own != "now":
        name = next(name for name in preconditions.SCHEDULES if when.get(name) is not None)
        raise InvalidInput(name, when[name], f"nothing, as it waits for the {own} already")


def _until(when: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one condition that what needs no process can have.

    Raises:
        InvalidInput: it has another.
    """
    for name in ("only_if", "not_after_step", *preconditions.SCHEDULES):
        if when.get(name) is not None:
            allowed = "no such condition: a note is recorded at once"
            raise InvalidInput(name, when[name], allowed)
    return preconditions.parse(when, {}, step=0, now=time.time())


def _refuse_words(intervention: Intervention, declarations: Mapping[str, Setting]) -> None:
    """Refuse words as truth values in JSON, which has its own, unlike shells and forms."""
    for name, value in getattr(intervention, "values", {}).items():
        if name in declarations and declarations[name].dtype == "bool" and isinstance(value, str):
            raise InvalidInput(name, value, declarations[name].allowed)


def _absolute(
    requested: SetSettings,
    declarations: Mapping[str, Setting],
    segment: Segment,
    when: Mapping[str, Any],
) -> tuple[SetSettings, Mapping[str, Any]]:
    """Return a request with its relative values computed from those that the process reported.

    It is carried out only while these still hold, unless the request itself says otherwise.

    Raises:
        InvalidInput: as `relative_values.resolved`.
    """
    names = relative_names(requested.values, declarations)
    only_if = when.get("only_if") or {}
    if not names or not isinstance(only_if, Mapping):
        return requested, when
    values = resolved(requested.values, declarations, segment.settings)
    unchanged = {name: segment.settings[name] for name in names}
    return (
        requested.model_copy(update={"values": values}),
        {**when, "only_if": {**unchanged, **only_if}},
    )


def _check_trains_on(freeze: Freeze, segment: Segment) -> None:
    """Refuse to freeze the last of a model that trains.

    Raises:
        InvalidInput: nothing would be left.
    """
    paths = capabilities.read(segment.offers).modules or ()
    above = {path.rpartition(".")[0] for path in paths}
    frozen = segment.settings.get("frozen") or ""
    # The paths that are above no other are the parameters.
    if freezes_all(f"{frozen},{freeze.modules}", {*paths} - above):
        raise InvalidInput("modules", freeze.modules, "patterns that leave something to train")


def _check_shards(connection: Connection, change: ChangeData, segment: Segment) -> None:
    """Refuse a change of shards that the data has or has not.

    Raises:
        InvalidInput: naming the field and the shard.
    """
    shards = composition_of(connection, segment.settings)
    if shards is not None:
        check_names(shards.names, change.add, change.remove, change.weights)


def _check_unpause(connection: Connection, branch: Branch, unpause: Unpause) -> Unpause:
    """Return it with the whole id of the pause that it ends."""
    pause = requests.find(connection, unpause.pause or "")
    if (pause.kind, pause.branch_id) != ("pause", branch.id):
        raise InvalidInput("pause", unpause.pause, f"the id of a pause of branch {branch.name}")
    return unpause.model_copy(update={"pause": pause.id})


def _check_rewind(connection: Connection, branch: Branch, rewind: Rewind) -> Rewind:
    node = nodes.find(connection, rewind.node)
    run = runs.get_run(connection, branch.run_id)
    if node.run_id != branch.run_id:
        raise InvalidInput("node", rewind.node, f"a node of run {run.name}")
    values = launch_settings.validate_launch(connection, node, rewind.values)
    if rewind.name is not None:
        valid_name(rewind.name)
        taken = runs.branch_names(connection, branch.run_id)
        if rewind.name in taken:
            raise NameTaken("branch", rewind.name, free_name(rewind.name, taken))
    return Rewind(node=node.id, name=rewind.name, values=values)
