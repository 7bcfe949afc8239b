"""The command `continue`: a new process that goes on in the same branch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli import origins
from branchtrack.cli.cluster_launches import carry_out, chosen, job_preview, on_option, print_job
from branchtrack.cli.commands import trust
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.launch_options import launch_options, order_asking, turn
from branchtrack.cli.launch_progress import exit_as, launch_lines, show_launch, show_launches
from branchtrack.cli.output import echo, emit
from branchtrack.cli.setting_arguments import SettingsCommand

if TYPE_CHECKING:
    from branchtrack.core.records import Launch
    from branchtrack.db.engine import Database


@click.command("continue", cls=SettingsCommand)
@click.argument("run", required=False)
@click.option("--all-crashed", is_flag=True, help="Every branch whose process was killed.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting to change; may be given more than once.",
)
@launch_options
@on_option
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")
@click.option("--script", metavar="PATH", help="The script, if it is another one or has moved.")
@click.option("--cwd", metavar="DIR", help="The folder to start it in, if it has moved.")
@click.option("--detach", is_flag=True, help="Return at once and let it train on its own.")
@click.option(
    "--slots",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many of several branches train at a time.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be continued.")
@json_option
@pass_command_line
def continue_run(
    line: CommandLine,
    /,
    run: str | None,
    all_crashed: bool,
    detach: bool,
    slots: int,
    dry_run: bool,
    on: str | None,
    as_json: bool,
    **order: Any,
) -> None:
    """Continue the branch RUN (or RUN/BRANCH) itself from its last node, in a new process.

    It was stopped or preempted, it crashed, its pause has ended its process, or it has finished and
    --set gives it another end. What it had logged past that node stays in the record as a lost
    tail. Ctrl-C asks it to stop at a node; the exit code is that of the training process.

    \b
    Example: branchtrack continue demo
             branchtrack continue demo/cooler --retry 3
             branchtrack continue demo --set max_steps=2000 --set horizon=extend
             branchtrack continue --all-crashed --detach
             branchtrack continue demo --on gpu -- --time=2:00:00
    """
    if (run is None) != all_crashed:
        raise click.UsageError("Give either a RUN or --all-crashed.")
    with line.database() as database:
        names = _crashed(database) if run is None else [run]
        launcher = chosen(database, on, dry_run=dry_run)
        if dry_run:
            _list(names, job_preview(line, launcher), as_json)
            return
        trust.require(line, database)
        manner = {**order, "launcher": launcher}
        launches = [_order(line, database, name, as_json, **manner) for name in names]
        if launcher is not None and launches:
            launches = carry_out(line, database, launches, detach, quiet=as_json)
        else:
            launches = _start(line, database, launches, slots, detach, as_json)
        payloads = [_payload(database, launch) for launch in launches]
    if as_json:
        emit(payloads if run is None else payloads[0])
    else:
        for payload in payloads:
            echo("\n".join(launch_lines(payload)))
        if not payloads:
            echo("No branch has crashed.")
    exit_as(payloads)


def _crashed(database: Database) -> list[str]:
    """Return the names of the branches whose process was killed."""
    from branchtrack.control import continuation
    from branchtrack.db import runs

    with database.read() as connection:
        return [
            f"{runs.get_run(connection, branch.run_id).name}/{branch.name}"
            for branch in continuation.crashed(connection)
        ]


def _list(names: list[str], preview: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit([{"branch": name, **preview} for name in names])
    else:
        echo("\n".join(f"would continue {name}" for name in names) or "No branch has crashed.")
        print_job(preview if names else {})


def _order(
    line: CommandLine,
    database: Database,
    name: str,
    quiet: bool,
    *,
    values: tuple[str, ...],
    script: str | None,
    cwd: str | None,
    reason: str,
    launcher: dict[str, Any] | None,
    **options: Any,
) -> Launch:
    from branchtrack import control
    from branchtrack.core.settings import parse_assignments
    from branchtrack.db import runs

    with database.read() as connection:
        head = runs.find_branch(connection, name).head_id
    details = turn(**options)
    order = partial(
        control.continue_branch,
        database,
        line.store,
        name,
        actor=control.local_actor(),
        settings=parse_assignments(values),
        reason=reason,
        launcher=launcher,
        entry_point=origins.relocated_command(database, head, script, cwd) if head else None,
        **{name: value for name, value in details.items() if name != "allow_code_change"},
    )
    return order_asking(order, details["allow_code_change"], quiet)


def _start(
    line: CommandLine,
    database: Database,
    launches: list[Launch],
    slots: int,
    detach: bool,
    quiet: bool,
) -> list[Launch]:
    """Start the processes; return the launches as they ended, or as they were handed over."""
    for launch in launches:
        origins.report_script_changes(database, launch, quiet=quiet)
        origins.report_environment(database, launch, quiet=quiet)
    if detach and launches:
        from branchtrack.launching import foreground

        if len(launches) == 1:
            foreground.detach(line.config, launches[0].id)
        else:
            foreground.detach_queue(line.config, launches[0].id, slots)
    if detach or not launches:
        return launches
    if len(launches) == 1:
        return [show_launch(line, database, launches[0], quiet=quiet)]
    return show_launches(line, database, launches, slots, quiet=quiet)


def _payload(database: Database, launch: Launch) -> dict[str, Any]:
    from branchtrack.analysis import payloads_requests

    with database.read() as connection:
        return payloads_requests.launch(connection, launch)
