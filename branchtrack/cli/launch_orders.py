"""The order of branches that the options of `resume` describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from branchtrack.cli import launch_options, origins
from branchtrack.cli.setting_arguments import grid_pairs

if TYPE_CHECKING:
    from branchtrack.control import ForkOrder
    from branchtrack.db.engine import Database


def read_order(
    database: Database,
    node: str,
    *,
    values: tuple[str, ...],
    grid: tuple[str, ...],
    name: str | None,
    group: str | None,
    mode: str | None,
    without_change: bool,
    accepted: tuple[str, ...],
    resize: bool,
    script: str | None,
    cwd: str | None,
    assignments: tuple[str, ...],
    keep_env: bool,
    priority: int | None,
    labels: str,
    retries: int,
    allow_code_change: bool,
    **details: Any,
) -> tuple[ForkOrder, dict[str, Any]]:
    """Return the order that the options describe, and how its processes are to be started.

    ``details`` are reason and strict.
    """
    from branchtrack import control
    from branchtrack.core import variables
    from branchtrack.core.settings import parse_assignments

    refs = [ref.strip() for ref in node.split(",")]
    order = control.ForkOrder(
        refs,
        parse_assignments([*values, *_declared(accepted, resize)]),
        grid_pairs(grid),
        name=name,
        group=group,
        mode=mode,
        without_change=without_change,
    )
    environment = {"given": variables.parse(assignments), "keep": keep_env}
    command = origins.relocated_command(database, refs[0], script, cwd)
    details |= launch_options.turn(priority, labels, retries, allow_code_change)
    return order, {**details, "environment": environment, "entry_point": command}


def _declared(accepted: tuple[str, ...], resize: bool) -> list[str]:
    """Return the settings that two of the options stand for.

    Raises:
        InvalidInput: a name in ``accepted`` is empty.
    """
    from branchtrack.errors import InvalidInput

    for names in accepted:
        if not all(name.strip() for name in names.split(",")):
            raise InvalidInput("accept", names, "names of differences, separated by commas")
    return [
        *([f"accept={','.join(accepted)}"] if accepted else []),
        *(["resize=true"] if resize else []),
    ]
