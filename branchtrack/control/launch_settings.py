"""What an order to train from a node may change, validated against the node's own process.

It reads no bytes of a checkpoint and stores nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.control import launch_checks
from branchtrack.core import schedules
from branchtrack.core.builtin_settings import (
    BUILT_IN,
    HORIZON,
    SCHEDULE_FROM,
    declared,
    validate_all,
)
from branchtrack.core.forks.relative_values import counts_from_step, resolved
from branchtrack.core.names import free_name, valid_name
from branchtrack.core.overrides import (
    WEIGHTS_ONLY,
    check_frozen,
    check_length,
    check_mode,
    check_reshuffle,
    check_schedule,
    check_schedule_left,
    check_stop,
    offered,
)
from branchtrack.core.records import Node, Segment
from branchtrack.core.settings import Setting
from branchtrack.core.shards.composition import SETTING, is_relative, relative_to
from branchtrack.db import runs, segments
from branchtrack.db.storage.compositions import compositions
from branchtrack.errors import InvalidInput, NameTaken, NeverWhole

#: The ways to resume a node: its whole state, or its weights with everything else fresh.
MODES = ("exact", "weights")


def validate_launch(
    connection: Connection,
    node: Node,
    settings: Mapping[str, Any],
    mode: str = "exact",
    home: Path | None = None,
) -> dict[str, Any]:
    """Validate the changes of a launch from ``node``, without its bytes, and return them.

    Raises:
        InvalidInput, LaunchFailed: as `launch.create_launch`.
    """
    overrides = check_settings(connection, node, settings, mode)
    launch_checks.startable(connection, node, home, None)
    return overrides


def check_here(
    connection: Connection, node: Node, settings: Mapping[str, Any], mode: str, name: str | None
) -> dict[str, Any]:
    """Validate the changes of a resume of ``node`` within the requesting process, and return them.

    Raises:
        InvalidInput, NameTaken: as `launch.create_launch`.
    """
    if mode not in MODES:
        raise InvalidInput("mode", mode, ", ".join(MODES))
    if name is not None:
        taken = runs.branch_names(connection, node.run_id)
        if valid_name(name, "branch") in taken:
            raise NameTaken("branch", name, free_name(name, taken))
    return check_settings(connection, node, settings, mode)


def mode_in_force(node: Node, mode: str) -> str:
    """Return the mode that applies: a node that was never trained may offer its weights alone."""
    is_fresh = node.kind == "fork" and node.effective is None and node.restored == WEIGHTS_ONLY
    return "weights" if is_fresh else mode


def default_mode(node: Node) -> str:
    """Return the mode in which a node is resumed unless another is asked for."""
    return "weights" if node.kind == "merge" else MODES[0]


def check_parts(overrides: Mapping[str, Any], tensors: Iterable[str]) -> None:
    """Refuse changes that name tensors which the node does not have.

    Raises:
        InvalidInput: the node has no such tensor.
    """
    if "frozen" in overrides:
        check_frozen(overrides["frozen"], tensors)


def check_settings(
    connection: Connection, node: Node, settings: Mapping[str, Any], mode: str
) -> dict[str, Any]:
    """Validate the changes of a resume of ``node``, and return them; something must be left to do.

    Raises:
        NeverWhole: the whole state of a merge is asked for.
        InvalidInput: as `launch.create_launch`.
    """
    if mode == "exact" and node.kind == "merge":
        raise NeverWhole(node.id)
    overrides = validate_overrides(connection, node, settings, mode)
    _check_unfinished(node, overrides, mode)
    return overrides


def validate_overrides(
    connection: Connection, node: Node, settings: Mapping[str, Any], mode: str = "exact"
) -> dict[str, Any]:
    """Validate the settings of a resume against the declarations of the node's process.

    Relative values (``x0.5``) are computed from the node's. Another schedule over so many more
    updates begins at the node, from the rate in force, unless ``settings`` say where.
    """
    if not settings:
        return {}
    segment = segments.get(connection, node.segment_id)
    declarations = _offered(node, segment)
    values = resolved(settings, declarations, node.settings, node.step)
    if is_relative(values.get(SETTING)) and SETTING in declarations:
        values[SETTING] = _of_shards(connection, node, str(values[SETTING]))
    if _is_cooldown(node, settings, declarations):
        values[SCHEDULE_FROM.name] = "hold"
    overrides = validate_all(values, declarations)
    check_mode(mode, overrides)
    check_schedule_left(node.step, node.settings, overrides, node.param_groups)
    check_length(node.step, node.settings, overrides, mode)
    check_stop(node.step, node.settings, overrides, mode)
    check_reshuffle(overrides)
    return check_schedule(node.settings, overrides, segment.script)


def _of_shards(connection: Connection, node: Node, value: str) -> str:
    """Return a change of weights that names the composition of the node.

    Raises:
        InvalidInput: it names a shard that the node does not have.
    """
    named = relative_to(value, node.settings.get(SETTING))
    compositions(connection, [named])
    return named


def resume_settings(connection: Connection, node: Node) -> dict[str, Setting]:
    """Return the settings that a resume of ``node`` may change, by name."""
    return _offered(node, segments.get(connection, node.segment_id))


def _offered(node: Node, segment: Segment) -> dict[str, Setting]:
    settings = declared(segment.declared) or {setting.name: setting for setting in BUILT_IN}
    return offered(settings, node.settings)


def _is_cooldown(
    node: Node, settings: Mapping[str, Any], declarations: Mapping[str, Setting]
) -> bool:
    """Return whether a change asks for another schedule over some more updates, and no more."""
    return (
        settings.get(schedules.KIND, node.settings.get(schedules.KIND))
        != node.settings.get(schedules.KIND)
        and counts_from_step("max_steps", settings.get("max_steps"))
        and not settings.keys() & {HORIZON.name, SCHEDULE_FROM.name}
        and SCHEDULE_FROM.name in declarations
    )


def _check_unfinished(node: Node, overrides: Mapping[str, Any], mode: str) -> None:
    # With the weights alone, the script sets the number of steps.
    max_steps = node.settings.get("max_steps") if mode == "exact" else None
    last = overrides.get("max_steps", max_steps)
    if last is not None and node.step >= last:
        more = "--set max_steps=N"
        more += " --set horizon=rescale" if schedules.KIND in node.settings else ""
        raise InvalidInput(
            "node",
            node.id,
            f"a node of that run before step {last}, or another end: {more}",
            what=f"Training ends at step {last}, where node {node.id} is: nothing is left to do.",
        )
