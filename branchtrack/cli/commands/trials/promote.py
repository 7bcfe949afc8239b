"""The command `promote`: the winner of a trial goes on as a branch of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.commands import trust
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.launch_progress import exit_as, launch_lines, show_launch
from branchtrack.cli.output import echo, emit

if TYPE_CHECKING:
    from branchtrack.core.records import Launch
    from branchtrack.db.engine import Database


@click.command()
@click.argument("branch", metavar="RUN/BRANCH|TRIAL")
@click.option("--name", required=True, metavar="BRANCH", help="The name that it gets.")
@click.option("--no-train", is_flag=True, help="Only name it; `branchtrack continue` trains it on.")
@click.option(
    "--allow-code-change",
    is_flag=True,
    help="Train although the script, its modules or packages have changed since.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")
@click.option("--detach", is_flag=True, help="Return at once and let it train on its own.")
@json_option
@pass_command_line
def promote(
    line: CommandLine,
    branch: str,
    name: str,
    no_train: bool,
    allow_code_change: bool,
    reason: str,
    detach: bool,
    as_json: bool,
) -> None:
    """Take a branch out of its group, give it a name, and train it on to the end of the run.

    The group is that of a trial or of a fan-out. With the id of a TRIAL the best branch of the
    change that helped most is taken. It keeps the order of data that its trial drew.

    \b
    Example: branchtrack promote demo/trial-lr-x0.5-changed-3 --name cooler
             branchtrack promote 3fa9 --name cooler --detach
    """
    from branchtrack import control
    from branchtrack.control.trials.promotion import promote as keep
    from branchtrack.db import runs

    with line.database() as database:
        if not no_train:
            trust.require(line, database)
            _check_trainable(line, database, branch, allow_code_change)
        kept = keep(database, branch, name, actor=control.local_actor(), reason=reason)
        with database.read() as connection:
            ref = f"{runs.get_run(connection, kept.run_id).name}/{kept.name}"
        if not as_json:
            echo(f"{ref} is a branch of its own.", err=True)
        if no_train:
            _show({"branch": ref, "launch": None}, as_json)
            return
        payload = _continued(line, database, ref, reason, detach, as_json)
    _show(payload, as_json)
    exit_as([payload])


def _check_trainable(
    line: CommandLine, database: Database, branch: str, allow_code_change: bool
) -> None:
    """Refuse a branch that could not be trained on before it gets its name.

    Raises:
        NotFound, InvalidInput, LaunchFailed, CodeChanged: nothing was changed.
    """
    from branchtrack.control import code_changes, launch_checks
    from branchtrack.control.trials.promotion import candidate
    from branchtrack.db import nodes

    with database.read() as connection:
        head = nodes.get(connection, candidate(connection, branch).head_id or "")
        launch_checks.startable(connection, head, line.store.home, None)
        if not allow_code_change:
            code_changes.check(connection, head, None)


def _continued(
    line: CommandLine, database: Database, ref: str, reason: str, detach: bool, quiet: bool
) -> dict[str, Any]:
    from branchtrack import control
    from branchtrack.analysis import payloads_requests
    from branchtrack.launching import foreground

    launch: Launch = control.continue_branch(
        database, line.store, ref, actor=control.local_actor(), settings={}, reason=reason
    )
    if detach:
        foreground.detach(line.config, launch.id)
    else:
        launch = show_launch(line, database, launch, quiet=quiet)
    with database.read() as connection:
        return payloads_requests.launch(connection, launch)


def _show(payload: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(payload)
    elif payload["launch"]:
        echo("\n".join(launch_lines(payload)))
