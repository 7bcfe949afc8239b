"""The origin of a resume: its script and environment, as recorded and as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from branchtrack.cli.output import echo

if TYPE_CHECKING:
    from branchtrack.core.records import Launch
    from branchtrack.db.engine import Database


def relocated_command(
    database: Database, node_ref: str, script: str | None, folder: str | None
) -> dict[str, Any] | None:
    """Return the command of a node's run with another script or folder, if one is given."""
    if script is None and folder is None:
        return None
    from branchtrack import scripts
    from branchtrack.db import nodes, runs

    with database.read() as connection:
        node = nodes.find(connection, node_ref)
        return scripts.replaced(runs.get_run(connection, node.run_id).entry_point, script, folder)


def is_remembered(database: Database, launch: Launch) -> bool:
    """Record a launch's script and folder as the run's own; return whether they differed."""
    from branchtrack.db import runs

    if launch.entry_point is None:
        return False
    with database.read() as connection:
        now = runs.get_run(connection, launch.run_id).entry_point or {}
    return all(now.get(name) == launch.entry_point.get(name) for name in ("argv", "cwd"))


def report_script_changes(database: Database, launch: Launch, quiet: bool) -> bool:
    """Say whether the script or a module of its own has changed since the node was written.

    Nothing is printed if ``quiet``.
    """
    from branchtrack import scripts
    from branchtrack.db import nodes, runs, segments

    with database.read() as connection:
        entry_point = launch.entry_point or runs.get_run(connection, launch.run_id).entry_point
        environment = nodes.get(connection, launch.node_id).environment
        before = segments.environment_before(connection, launch.node_id)
    changed = scripts.has_changed(entry_point, environment)
    modules = scripts.changed_modules(entry_point, (before or {}).get("modules"))
    if launch.entry_point is not None and not quiet:
        echo(
            f"Starting {scripts.describe(launch.entry_point)}, which is not where it was trained.",
            err=True,
        )
    if changed and not quiet:
        path = scripts.script_of(entry_point)
        echo(f"The script {path} has changed since node {launch.node_id} was made.", err=True)
    if modules and not quiet:
        more = f" and {len(modules) - 8} more" if len(modules) > 8 else ""
        echo(f"Modules of the script have changed since: {', '.join(modules[:8])}{more}.", err=True)
    return changed or bool(modules)


def report_environment(database: Database, launch: Launch, quiet: bool) -> None:
    """Print the environment variables that the process is given and that differ here."""
    from branchtrack.db import segments
    from branchtrack.launching import child_environment

    with database.read() as connection:
        before = segments.environment_before(connection, launch.node_id)
    for line in child_environment.compared(before, launch).sentences():
        if not quiet:
            echo(line, err=True)
