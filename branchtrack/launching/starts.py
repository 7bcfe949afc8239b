"""What a launch's process is started with: its command, its variables, its share of the machine.

It starts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack import scripts
from branchtrack.core.records import Launch
from branchtrack.core.variables import Comparison
from branchtrack.db import nodes, runs, segments
from branchtrack.db.storage import references
from branchtrack.launching import child_environment, devices, processes, rebuilt_start


@dataclass(frozen=True)
class Start:
    """A start as prepared; ``facts`` are recorded with the launch, see `variables.Comparison`.

    ``before`` is a command that runs the recorded one when it is done, see `rebuilt_start`.
    """

    entry_point: dict[str, Any] | None
    compared: Comparison
    variables: dict[str, str]
    keeps_environment: bool
    facts: dict[str, Any]
    before: tuple[str, ...] = ()


def prepare(connection: Connection, launch: Launch, *, slots: int, home: Path) -> Start:
    """Return how to start a launch that was claimed by a worker of ``slots`` slots.

    It may have been ordered before its project was moved together with its ``home``.
    """
    order = launch.environment or {}
    keeps = bool(order.get("keep"))
    compared = child_environment.compared(
        segments.environment_before(connection, launch.node_id), launch
    )
    recorded = launch.entry_point or runs.get_run(connection, launch.run_id).entry_point
    entry_point = scripts.relocated(recorded, home)
    node = nodes.get(connection, launch.node_id)
    is_thinned = nodes.thinned(connection, node.state_digest) == references.RECIPE
    slot = child_environment.of_slot(
        node,
        {} if keeps else (entry_point or {}).get("env", {}),
        compared,
        slots=slots,
        device=launch.device,
    )
    changes = nodes.get(connection, launch.fork_node_id).changes
    declared = {change.name: change.after for change in changes}
    facts = {**order, **compared.as_dict(), **({"slot": sorted(slot)} if slot else {})}
    return Start(
        entry_point=entry_point,
        compared=compared,
        variables={**compared.variables, **slot},
        keeps_environment=keeps,
        facts={"environment": facts, "device": slot.get(devices.DEVICES)},
        before=(
            *(rebuilt_start.command(node.id) if is_thinned else ()),
            *processes.before({**node.settings, **declared}, entry_point),
        ),
    )
