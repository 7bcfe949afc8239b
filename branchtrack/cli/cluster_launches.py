"""Launches that a cluster carries out, at the shell: the option ``--on``, a preview, the progress.

What follows ``--`` are options of the cluster's own command.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from branchtrack.cli.context import CommandLine
from branchtrack.cli.launch_progress import interrupts, progress_of
from branchtrack.cli.output import echo, is_terminal
from branchtrack.cli.progress import bars
from branchtrack.cli.setting_arguments import JOB_OPTIONS
from branchtrack.core.launchers import jobs
from branchtrack.core.queueing import OF_WORKERS
from branchtrack.errors import InvalidInput

if TYPE_CHECKING:
    from branchtrack.core.records import Launch
    from branchtrack.db.engine import Database
    from branchtrack.launching.clusters.shepherd import Shepherd

#: Seconds between two questions to a cluster of a command that waits.
_EVERY = 3.0

on_option = click.option(
    "--on",
    metavar="LAUNCHER",
    help="Have a cluster train: a profile (`branchtrack launcher list`) or slurm or ray; the words "
    "after -- are options for its jobs.",
)


def chosen(database: Database, on: str | None, *, dry_run: bool) -> dict[str, Any] | None:
    """Return the launcher that the options of a command name, which can be reached from here.

    A ``dry_run`` does not need its cluster to answer.

    Raises:
        InvalidInput: there is no such launcher, an option cannot be given, or this machine lacks
        what it takes. ClusterUnreachable: the cluster does not answer.
    """
    if on is None:
        return None
    from branchtrack.control.launchers import profiles
    from branchtrack.core.launchers import ray_options
    from branchtrack.launching.clusters import registry

    context = click.get_current_context()
    _check_manner(context)
    options = context.meta.get(JOB_OPTIONS, [])
    with database.read() as connection:
        launcher = profiles.resolved(connection, on, options)
    cluster = registry.check_here(launcher["kind"], on, launcher["options"], is_asked=not dry_run)
    if launcher["kind"] == "ray":
        # A variable of this shell may have named the cluster; workers have others.
        launcher["options"] = ray_options.with_address(launcher["options"], cluster.where)
    return launcher


def _check_manner(context: click.Context) -> None:
    """Refuse the options of a command that say something of workers alone."""
    if labels := context.params.get("labels"):
        raise InvalidInput("labels", labels, OF_WORKERS)
    if context.get_parameter_source("slots") is ParameterSource.COMMANDLINE:
        allowed = "no --slots with --on: the cluster decides how many train at a time"
        raise InvalidInput("slots", context.params["slots"], allowed)


def job_preview(line: CommandLine, launcher: dict[str, Any] | None) -> dict[str, Any]:
    """Return the ``job`` that a launch would get, its command and script; without one nothing."""
    if launcher is None:
        return {}
    from branchtrack.launching.clusters import job_files, registry

    order = job_files.order(line.config, job_files.PREVIEW, launcher["options"])
    script = job_files.script(order, line.config, job_files.PREVIEW, launcher["kind"])
    command = registry.of_kind(launcher["kind"], launcher["options"]).command(order)
    return {"job": {"launcher": launcher["name"], "command": command, "script": script}}


def print_job(preview: dict[str, Any]) -> None:
    """Print a `job_preview`."""
    if job := preview.get("job"):
        echo(f"would submit {shlex.join(job['command'])}")
        echo("with the script")
        echo("\n".join(f"  {text}" for text in job["script"].splitlines()))


def carry_out(
    line: CommandLine, database: Database, launches: Sequence[Launch], detach: bool, quiet: bool
) -> list[Launch]:
    """Submit launches, and wait for their ends unless ``detach``; return them as they are then.

    Raises:
        KeyboardInterrupt: Ctrl-C; the jobs go on.
    """
    from branchtrack.launching.clusters import foreground

    ids = [launch.id for launch in launches]
    shepherd = _shepherd(line, database, ids, quiet)
    if detach:
        return foreground.submit(shepherd, ids)
    labels = {launch.id: launch.branch or launch.id for launch in launches}
    with bars(labels) as updates, interrupts() as received:
        watchers = {key: progress_of(update, received) for key, update in updates.items()}
        say_of = None if quiet or is_terminal() else _sayer()

        def watch(launch: Launch, segment: Any) -> None:
            # A job that runs again has the bar of the launch that it goes on with.
            key = launch.id if launch.id in watchers else _first(database, launch, ids)
            watchers[key](launch, segment)
            if say_of is not None:
                say_of(labels[key], launch)

        try:
            return foreground.follow(shepherd, ids, watch)
        except KeyboardInterrupt:
            echo(f"The jobs go on; `branchtrack cancel {ids[0][:8]}` ends one.", err=True)
            raise


def _sayer() -> Callable[[str, Launch], None]:
    """Return what prints where a job is whenever that has changed, for where no bar shows it."""
    said: dict[str, str] = {}

    def say_of(label: str, launch: Launch) -> None:
        where = jobs.words(launch)
        if said.get(label) != where:
            said[label] = where
            echo(f"{label}: {where}", err=True)

    return say_of


def refresh(line: CommandLine, database: Database) -> None:
    """Bring what is known of the jobs of a home up to date, if this machine can ask for it."""
    from branchtrack import trust

    if not database.read_only and trust.is_trusted(line.config):
        _shepherd(line, database, None, quiet=True).look(at_once=True)


def _shepherd(
    line: CommandLine, database: Database, only: Sequence[str] | None, quiet: bool
) -> Shepherd:
    from branchtrack import processes
    from branchtrack.launching.clusters.shepherd import Shepherd

    def say(text: str) -> None:
        if not quiet:
            echo(text, err=True)

    name = processes.own_name()
    return Shepherd(database, line.config, name, say=say, only=only, every=_EVERY)


def _first(database: Database, launch: Launch, ids: Sequence[str]) -> str:
    """Return which of the launches one goes on with."""
    from branchtrack.db.orders import launches

    with database.read() as connection:
        while launch.id not in ids and launch.retry_of is not None:
            launch = launches.get(connection, launch.retry_of)
    return launch.id
