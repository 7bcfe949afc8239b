"""Every setting of live objects with its reader and its writer, by name.

A writer changes the place that the maths reads; a reader reads that place. Those of a named
optimizer begin with its name. It knows no request, and not the settings of the loop itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from branchtrack.core import schedules
from branchtrack.core.settings import (
    BETAS,
    CYCLED_BETAS,
    CYCLED_MOMENTUM,
    DROPOUT,
    EPS,
    FROZEN,
    LR,
    MAX_GRAD_NORM,
    MOMENTUM,
    SCHEDULE_HELD,
    WEIGHT_DECAY,
    Setting,
)
from branchtrack.training.settings import (
    learning_rates,
    modules,
    momenta,
    optimizer_fields,
    param_groups,
    schedule_hold,
)
from branchtrack.training.settings.live import Live

#: The settings that an optimizer has by a name of its own.
NAMED: dict[str, tuple[Callable[[Live], Any], Callable[[Live, Any], None]]] = {
    "lr": (learning_rates.read_lr, learning_rates.write_lr),
    "weight_decay": (param_groups.read_weight_decay, param_groups.write_weight_decay),
    "max_grad_norm": (param_groups.read_max_grad_norm, param_groups.write_max_grad_norm),
    "betas": (momenta.read_betas, momenta.write_betas),
    "eps": (param_groups.read_eps, param_groups.write_eps),
    "momentum": (momenta.read_momentum, momenta.write_momentum),
}


@dataclass(frozen=True)
class Handle:
    """A setting with how it is read and written; ``whole`` names the one that it is a part of.

    ``in_use`` reads what an update makes of it, where that may be something else than is set.
    """

    setting: Setting
    read: Callable[[], Any]
    write: Callable[[Any], None]
    whole: str | None = None
    in_use: Callable[[], Any] | None = None


def of(live: Live) -> dict[str, Handle]:
    """The settings of optimizers, model and the author's own, by name.

    They are made once for a training, and again only where its objects are no longer the same:
    another module in the model, another group in an optimizer.
    """
    objects = _objects(live)
    if live.registry.get("objects") != objects:
        live.registry.update(objects=objects, handles=_handles(live))
    handles: dict[str, Handle] = live.registry["handles"]
    return handles


def _objects(live: Live) -> list[Any]:
    """What tells whether the registry still holds. Those that it holds cannot be made anew at the
    same address."""
    loop = () if live.loop is None else live.loop.declared
    objects: list[Any] = [id(live.values), id(live.loop), live.is_several, schedules.KIND in loop]
    for part in live.parts.values():
        objects += [id(part.optimizer), id(part.scheduler), type(part.scheduler), id(part.options)]
        for group in part.groups:
            objects += [id(group), *group, *map(type, group.values())]
    if live.values is not None:
        objects += live.values.declared
    modules_left = [live.model]
    while modules_left:
        module = modules_left.pop()
        objects.append(id(module))
        objects.extend(map(id, module._parameters.values()))
        modules_left.extend(child for child in module._modules.values() if child is not None)
    return objects


def _handles(live: Live) -> dict[str, Handle]:
    found: dict[str, Handle] = {}
    for prefix, part in live.parts.items():
        dot = f"{prefix}." if prefix else ""
        for one in _of_part(part, clips=not live.is_several):
            whole = None if one.whole is None else dot + one.whole
            setting = replace(one.setting, name=dot + one.setting.name)
            found[setting.name] = replace(one, setting=setting, whole=whole)
    found |= {one.setting.name: one for one in _of_model(live)}
    if live.values is not None:
        for name, setting in live.values.declared.items():
            read, write = partial(live.values.peek, name), partial(live.values.write, name)
            found[name] = Handle(setting, read, write)
    return found


def _of_part(part: Live, *, clips: bool) -> Iterator[Handle]:
    has_rates = all(group.get("lr") is not None for group in part.groups)
    own = [LR] if has_rates else []
    own += [WEIGHT_DECAY] if any("weight_decay" in group for group in part.groups) else []
    own += [MAX_GRAD_NORM] if clips and hasattr(part.options, "max_grad_norm") else []
    plain = (BETAS, EPS, MOMENTUM)
    if momenta.is_cycled(part):
        plain = (CYCLED_BETAS, EPS, CYCLED_MOMENTUM)
    for one in plain:
        own += [one] if any(momenta.has(group, one.name) for group in part.groups) else []
    for one in own:
        read, write = NAMED[one.name]
        yield Handle(one, partial(read, part), partial(write, part))
    for one in optimizer_fields.declare(part):
        read_field = partial(optimizer_fields.read, part, one.name)
        yield Handle(one, read_field, partial(optimizer_fields.write, part, one.name))
    made_here = part.loop is not None and schedules.KIND in part.loop.declared
    if has_rates and not made_here and schedule_hold.can_hold(part.scheduler):
        yield Handle(
            SCHEDULE_HELD,
            lambda: schedule_hold.is_held(part.scheduler),
            partial(schedule_hold.write, part),
        )
    if has_rates and len(part.groups) > 1:
        yield from _of_groups(part)


def _of_groups(part: Live) -> Iterator[Handle]:
    for place in range(len(part.groups)):
        about = f"base (peak) learning rate of parameter group {place} alone"
        setting = replace(LR, name=f"group{place}.lr", about=about, detail=True)
        read = partial(learning_rates.read_group_lr, part, place)
        yield Handle(setting, read, partial(learning_rates.write_group_lr, part, place), LR.name)


def _of_model(live: Live) -> Iterator[Handle]:
    model, dropouts = live.model, modules.dropouts(live.model)
    if dropouts:
        held = list(dropouts.values())
        yield Handle(
            DROPOUT,
            partial(modules.read_dropout, held),
            partial(modules.write_dropout, held),
            in_use=partial(modules.used_dropout, held),
        )
    parameters = modules.parameters(model)
    yield Handle(
        FROZEN, partial(modules.frozen_of, parameters), partial(modules.write_frozen, model)
    )
    for path, module in dropouts.items():
        about = f"probability of the dropout module {path} alone"
        setting = replace(DROPOUT, name=modules.dropout_name(path), about=about, detail=True)
        held = [module]
        read, write = partial(modules.read_dropout, held), partial(modules.write_dropout, held)
        yield Handle(setting, read, write, DROPOUT.name, partial(modules.used_dropout, held))
