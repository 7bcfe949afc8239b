"""Every setting of live objects with its reader and its writer, by name.

A writer changes the value that the maths reads; a reader reads that value. Names of a named
optimizer's settings begin with its name. It knows no request and none of the loop's own settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

import torch

from branchtrack.core import schedules
from branchtrack.core.builtin_settings import (
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
)
from branchtrack.core.settings import Setting
from branchtrack.training.settings import (
    learning_rates,
    modules,
    momenta,
    optimizer_fields,
    param_groups,
    schedule_hold,
)
from branchtrack.training.settings.live import Live

#: The settings of an optimizer that have a name of their own.
NAMED: dict[str, tuple[Callable[[Live], Any], Callable[[Live, Any], None]]] = {
    "lr": (learning_rates.read_lr, learning_rates.write_lr),
    "weight_decay": (param_groups.read_weight_decay, param_groups.write_weight_decay),
    "max_grad_norm": (param_groups.read_max_grad_norm, param_groups.write_max_grad_norm),
    "betas": (momenta.read_betas, momenta.write_betas),
    "eps": (param_groups.read_eps, param_groups.write_eps),
    "momentum": (momenta.read_momentum, momenta.write_momentum),
}

#: The modules and parameters in a module's attributes, each by name.
_HELD = itemgetter("_modules", "_parameters")


@dataclass(frozen=True)
class Handle:
    """A setting with how it is read and written; ``whole`` names the setting it is a part of.

    ``in_use`` reads what an update uses, where that may differ from what is set.
    """

    setting: Setting
    read: Callable[[], Any]
    write: Callable[[Any], None]
    whole: str | None = None
    in_use: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Registry:
    """What was built for ``objects`` and a model of ``modules`` with ``contents``: handles by name,
    and the model's dropouts and parameters."""

    objects: list[Any]
    modules: list[torch.nn.Module]
    contents: list[int]
    handles: dict[str, Handle]
    dropouts: list[torch.nn.modules.dropout._DropoutNd]
    parameters: list[torch.nn.Parameter]


def of(live: Live) -> dict[str, Handle]:
    """Return the settings of optimizers, model and the author's own, by name."""
    return current(live).handles


def current(live: Live) -> Registry:
    """Return the registry of live objects.

    It is built once for a training, and again only if its objects are no longer the same: another
    module in the model, another group in an optimizer.
    """
    objects = _objects(live)
    held: list[Registry] = live.registry
    if not held or held[0].objects != objects or held[0].contents != _contents(held[0].modules):
        dropouts = list(modules.dropouts(live.model).values())
        parameters = list(live.model.parameters())
        parts = list(live.model.modules())
        held[:] = [Registry(objects, parts, _contents(parts), _handles(live), dropouts, parameters)]
    return held[0]


def _objects(live: Live) -> list[Any]:
    """Return the objects that the registry is valid for. As it holds them, no new object can have
    the same address."""
    loop = () if live.loop is None else live.loop.declared
    objects: list[Any] = [
        id(live.model),
        id(live.values),
        id(live.loop),
        live.is_several,
        schedules.KIND in loop,
    ]
    for optimizer_objects in live.parts.values():
        objects += [
            id(optimizer_objects.optimizer),
            id(optimizer_objects.scheduler),
            type(optimizer_objects.scheduler),
            id(optimizer_objects.options),
        ]
        for group in optimizer_objects.groups:
            objects += [id(group), *group, *map(type, group.values())]
    if live.values is not None:
        objects += live.values.declared
    return objects


def _contents(parts: Sequence[torch.nn.Module]) -> list[int]:
    """Return the addresses of what modules hold: the same ones are the same model.

    It is compared at every look at a setting, so that it loops over modules in C alone.
    """
    held = chain.from_iterable(map(_HELD, map(vars, parts)))
    return list(map(id, chain.from_iterable(map(dict.values, held))))


def _handles(live: Live) -> dict[str, Handle]:
    handles: dict[str, Handle] = {}
    for prefix, optimizer_objects in live.parts.items():
        dot = f"{prefix}." if prefix else ""
        for handle in _of_part(optimizer_objects, clips=not live.is_several):
            whole = None if handle.whole is None else dot + handle.whole
            setting = replace(handle.setting, name=dot + handle.setting.name)
            handles[setting.name] = replace(handle, setting=setting, whole=whole)
    handles |= {handle.setting.name: handle for handle in _of_model(live)}
    if live.values is not None:
        for name, setting in live.values.declared.items():
            read, write = partial(live.values.peek, name), partial(live.values.write, name)
            handles[name] = Handle(setting, read, write)
    return handles


def _of_part(optimizer_objects: Live, *, clips: bool) -> Iterator[Handle]:
    has_rates = all(group.get("lr") is not None for group in optimizer_objects.groups)
    settings = [LR] if has_rates else []
    settings += (
        [WEIGHT_DECAY] if any("weight_decay" in group for group in optimizer_objects.groups) else []
    )
    settings += (
        [MAX_GRAD_NORM] if clips and hasattr(optimizer_objects.options, "max_grad_norm") else []
    )
    plain = (BETAS, EPS, MOMENTUM)
    if momenta.is_cycled(optimizer_objects):
        plain = (CYCLED_BETAS, EPS, CYCLED_MOMENTUM)
    for setting in plain:
        settings += (
            [setting]
            if any(momenta.has(group, setting.name) for group in optimizer_objects.groups)
            else []
        )
    for setting in settings:
        read, write = NAMED[setting.name]
        yield Handle(setting, partial(read, optimizer_objects), partial(write, optimizer_objects))
    for setting in optimizer_fields.declare(optimizer_objects):
        read_field = partial(optimizer_fields.read, optimizer_objects, setting.name)
        yield Handle(
            setting, read_field, partial(optimizer_fields.write, optimizer_objects, setting.name)
        )
    made_here = (
        optimizer_objects.loop is not None and schedules.KIND in optimizer_objects.loop.declared
    )
    if has_rates and not made_here and schedule_hold.can_hold(optimizer_objects.scheduler):
        yield Handle(
            SCHEDULE_HELD,
            lambda: schedule_hold.is_held(optimizer_objects.scheduler),
            partial(schedule_hold.write, optimizer_objects),
        )
    if has_rates and len(optimizer_objects.groups) > 1:
        yield from _of_groups(optimizer_objects)


def _of_groups(optimizer_objects: Live) -> Iterator[Handle]:
    for index in range(len(optimizer_objects.groups)):
        about = f"base (peak) learning rate of parameter group {index} alone"
        setting = replace(LR, name=f"group{index}.lr", about=about, detail=True)
        read = partial(learning_rates.read_group_lr, optimizer_objects, index)
        yield Handle(
            setting, read, partial(learning_rates.write_group_lr, optimizer_objects, index), LR.name
        )


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
