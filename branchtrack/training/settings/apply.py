"""Settings on live objects: declared, read, written all or none, and checked in an update.

A writer changes the value that the maths reads; a reader reads that value (see `registry`, and
`live.LoopSettings` for those of the loop itself). They know no request, no database and no trainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from operator import attrgetter
from typing import Any

import torch

from branchtrack.core import builtin_settings, schedules
from branchtrack.core.builtin_settings import DIRECTIVES, RECIPE, SCHEDULE_HELD
from branchtrack.core.preconditions import same
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput
from branchtrack.training.settings import (
    compatibility,
    modules,
    optimizer_fields,
    registry,
    shadow_step,
)
from branchtrack.training.settings.live import Live as Live
from branchtrack.training.settings.live import number as number
from branchtrack.training.settings.live import put as put
from branchtrack.training.settings.momenta import cycled_now
from branchtrack.training.settings.registry import Handle
from branchtrack.training.settings.rollback import keep_state

#: What every optimizer reads in each of its groups, where it has it.
_IN_GROUPS = tuple(name for name, setting in builtin_settings.SETTINGS.items() if setting.in_groups)
#: Settings that show in the rates of all groups.
_SHAPE_RATES = {name for name, setting in builtin_settings.SETTINGS.items() if setting.shapes_rates}

Groups = dict[str, list[dict[str, Any]]]


def declare(live: Live) -> list[Setting]:
    """Return all that can be set live, details and directives included."""
    loop = [] if live.loop is None else list(live.loop.declared.values())
    data = [] if live.data is None else list(live.data.declared.values())
    return [handle.setting for handle in registry.of(live).values()] + loop + data


def read_all(live: Live, details: bool = False) -> dict[str, Any]:
    """Return every setting's value, as it is used; with ``details`` those of single parts too."""
    return _read(live, registry.of(live), details)


def write_all(live: Live, targets: Mapping[str, Any]) -> dict[str, Any]:
    """Write settings that `normalize` returned, all or none, and return their values read back.

    Directives cannot be read back; values that follow from the others (the arguments of another
    schedule, its recipe) are returned too if they changed.

    Raises:
        InvalidInput: a value that these objects cannot have, alone, in combination with the others,
            or with their present state. On any error nothing was changed.
    """
    now = registry.current(live)
    handles, recipe, put_back = now.handles, live.fixed.get(RECIPE), keep_state(live, now)
    options = shadow_step.options(live)
    try:
        _write(live, handles, targets)
        after = read_all(live, details=True)
        for name, value in targets.items():
            if name not in DIRECTIVES and not same(after[name], value):
                raise _not_taken(name, value, after[name])
        compatibility.check(live, options, targets)
    except BaseException:
        put_back()
        raise
    applied = {name: after[name] for name in targets if name not in DIRECTIVES}
    new_recipe = live.fixed.get(RECIPE)
    return applied if new_recipe == recipe else {**applied, RECIPE: new_recipe}


def normalize(live: Live, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they will be read back after writing: patterns resolved to paths, and values
    that follow from the others added. Directives stay.

    Raises:
        InvalidInput: a pattern that nothing matches, or values that do not fit each other.
    """
    settings = dict(values)
    if "frozen" in settings and not (live.values is not None and "frozen" in live.values.declared):
        settings["frozen"] = modules.resolve_frozen(live.model, settings["frozen"])
    if live.data is not None:
        settings = live.data.shards.normalized(settings)
    return settings if live.loop is None else {**settings, **live.loop.implied(live, settings)}


def expected(live: Live, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first update after a restore should use where ``overrides`` was declared:
    every setting, and the requested details.
    """
    handles = registry.of(live)
    details = {name: v for name, v in overrides.items() if name in handles and handles[name].whole}
    # A setting of one part may be what the value of the whole follows from.
    wholes = {handles[name].whole for name in details}
    now = {**read_all(live), **live.fixed}
    targets = {n: value if n in wholes else overrides.get(n, value) for n, value in now.items()}
    targets = {n: v for n, v in targets.items() if n not in (*DIRECTIVES, RECIPE)}
    return normalize(live, {**targets, **details})


def read_groups(live: Live) -> Groups:
    """Return what the next update uses in each group of each optimizer; None if not a number."""
    groups = {}
    for prefix, optimizer_objects in live.parts.items():
        names = [
            *_IN_GROUPS,
            *(field.name for field in optimizer_fields.declare(optimizer_objects)),
        ]
        groups[prefix] = [
            {n: _plain(group.get(n)) for n in names} for group in optimizer_objects.groups
        ]
    return groups


def used(live: Live) -> dict[str, Any]:
    """Return what the coming update uses; call it between backward and the optimizer's step.

    ``grad_norm`` is the norm of the gradients as the optimizer will see them; for the rest see
    `in_force`.
    """
    return {**in_force(live), "grad_norm": _grad_norm(live)}


def in_force(live: Live) -> dict[str, Any]:
    """Return every setting, details too, and for each optimizer its largest rate (``lr_now``), its
    ``groups``, and the present values of a cycle (``momentum_now``, ``betas_now``).

    Values that the loop reads for itself are those the update read, and values that its data
    declares those its batch was made with; None where there was no such reading or batch.
    """
    groups: Groups = read_groups(live)
    now: dict[str, Any] = {}
    for prefix, optimizer_objects in live.parts.items():
        rates = [group["lr"] for group in groups[prefix] if group["lr"] is not None]
        current = {"lr_now": max(rates, default=None), **cycled_now(optimizer_objects)}
        now |= {f"{prefix}.{name}" if prefix else name: value for name, value in current.items()}
    loop = {} if live.loop is None else live.loop.used()
    handles = registry.of(live)
    values = {**_read(live, handles, details=True), **_in_use(handles)}
    data = {} if live.data is None else live.data.used()
    return {**values, **loop, **data, **now, "groups": groups}


def unused(live: Live) -> set[str]:
    """Return the settings that an update does not use: the loop or its data reads them and did not,
    or the modules that have them are not training.
    """
    parts = [source.used() for source in (live.loop, live.data) if source is not None]
    unread = {name for used in parts for name, value in used.items() if value is None}
    handles = registry.of(live)
    in_use = _in_use(handles)
    return unread | {name for name, v in in_use.items() if not same(v, handles[name].read())}


def worth_recording(
    live: Live, reading: Mapping[str, Any], targets: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is worth recording of a reading: no details except those in ``targets``."""
    details = {name for name, handle in registry.of(live).items() if handle.setting.detail}
    left_out = (details - targets.keys()) | {"groups"}
    return {name: value for name, value in reading.items() if name not in left_out}


def agrees(
    targets: Mapping[str, Any],
    groups: Mapping[str, list[dict[str, Any]]],
    reading: Mapping[str, Any],
) -> bool:
    """Return whether an update with this ``reading`` obeyed ``targets``, in every group too."""
    for name, value in targets.items():
        if name in DIRECTIVES:
            continue
        prefix, _dot, local_name = name.rpartition(".")
        if not same(reading.get(name), value):
            return False
        if prefix in groups and any(local_name in group for group in groups[prefix]):
            if not _same(local_name, groups[prefix], reading["groups"][prefix]):
                return False
    if schedules.KIND in reading and _SHAPE_RATES & targets.keys():
        if not _same("lr", groups[""], reading["groups"][""]):
            return False
    limit = targets.get("max_grad_norm", 0.0)
    return not limit or bool(reading["grad_norm"] <= limit * 1.01 + 1e-6)


def _read(live: Live, handles: Mapping[str, Handle], details: bool) -> dict[str, Any]:
    values = {
        name: handle.read()
        for name, handle in handles.items()
        if details or not handle.setting.detail
    }
    if live.loop is not None:
        names = (name for name in live.loop.declared if name not in DIRECTIVES)
        values |= {name: live.loop.read(name) for name in names}
    return values if live.data is None else {**values, **live.data.values()}


def _in_use(handles: Mapping[str, Handle]) -> dict[str, Any]:
    return {n: handle.in_use() for n, handle in handles.items() if handle.in_use is not None}


def _write(live: Live, handles: Mapping[str, Handle], values: Mapping[str, Any]) -> None:
    """Write settings in an order: a schedule is held before rates are set, a whole is set before
    its parts, and the loop's own come last since it reads the rates.
    """
    handled = {name: value for name, value in values.items() if name in handles}
    refused = {
        prefix: optimizer_fields.refusal(optimizer_objects)
        for prefix, optimizer_objects in live.parts.items()
    }

    def turn(name: str) -> tuple[bool, bool]:
        return not name.endswith(SCHEDULE_HELD.name), handles[name].setting.detail

    for name in sorted(handled, key=turn):
        handles[name].write(handled[name])
    for prefix, optimizer_objects in live.parts.items():
        # A constructor that refused the old options proves nothing about the new ones.
        error = None if refused[prefix] else optimizer_fields.refusal(optimizer_objects)
        if error is not None:
            raise _refused(prefix, optimizer_objects, handled, error)
    others = {name: value for name, value in values.items() if name not in handled}
    if live.data is not None:
        of_data = [name for name in others if name in live.data.declared]
        live.data.write({name: others.pop(name) for name in of_data})
    if others and live.loop is not None:
        live.loop.write(live, others)
    elif others:
        name, value = next(iter(others.items()))
        raise InvalidInput(
            name, value, ", ".join(handles), what=f"There is no setting {name} here."
        )


def _refused(
    prefix: str, optimizer_objects: Live, values: Mapping[str, Any], error: Exception
) -> InvalidInput:
    dot, kind = f"{prefix}." if prefix else "", type(optimizer_objects.optimizer).__name__
    candidates = (name for name in values if name.removeprefix(dot) in optimizer_objects.groups[0])
    name = next(candidates, next(iter(values)))
    return InvalidInput(
        name,
        values[name],
        f"what {kind} accepts",
        what=f"{name} cannot be {values[name]} here: {kind} refused it: {error}",
    )


def _not_taken(name: str, value: Any, actual: Any) -> InvalidInput:
    return InvalidInput(
        name,
        value,
        "a value that goes with the others requested",
        what=f"{name} cannot be {value} here: with all of these set it becomes {actual}.",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return number(value) if isinstance(value, (int, float, torch.Tensor)) else None


def _grad_norm(live: Live) -> float:
    parameters = chain.from_iterable(group["params"] for group in live.groups)
    gradients = [grad for grad in map(attrgetter("grad"), parameters) if grad is not None]
    dense = [gradient for gradient in gradients if gradient.layout is torch.strided]
    sparse = [gradient for gradient in gradients if gradient.layout is not torch.strided]
    with torch.no_grad():
        norms = [*(torch._foreach_norm(dense) if dense else ()), *(g.norm() for g in sparse)]
        if len({(norm.dtype, norm.device) for norm in norms}) > 1:
            norms = [norm.float().cpu() for norm in norms]
        return float(torch.stack(norms).float().norm()) if norms else 0.0


def _same(
    name: str, expected_groups: list[dict[str, Any]], actual_groups: list[dict[str, Any]]
) -> bool:
    return same(
        [group.get(name) for group in actual_groups], [group.get(name) for group in expected_groups]
    )
