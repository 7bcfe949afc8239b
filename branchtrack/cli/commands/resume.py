"""The command `resume`: new processes that continue from nodes, each as a new branch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli import origins
from branchtrack.cli.cluster_launches import carry_out, chosen, job_preview, on_option, print_job
from branchtrack.cli.commands import trust
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.launch_options import launch_options, order_asking
from branchtrack.cli.launch_orders import read_order
from branchtrack.cli.launch_preview import print_preview
from branchtrack.cli.launch_progress import exit_as, launch_lines, show_launch, show_launches
from branchtrack.cli.offered_settings import list_settings
from branchtrack.cli.output import echo, emit
from branchtrack.cli.setting_arguments import SettingsCommand
from branchtrack.error_payload import jsonable

if TYPE_CHECKING:
    from branchtrack.control import ForkOrder
    from branchtrack.core.records import Launch
    from branchtrack.db.engine import Database


@click.command(cls=SettingsCommand)
@click.argument("node", metavar="NODE[,NODE...]")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="NAME=VALUE...",
    help="Settings to change; one may have a list of values, lr=1e-4,3e-4: one branch for each.",
)
@click.option(
    "--grid",
    "grid",
    multiple=True,
    metavar="NAME=VALUES...",
    help="Lists of values: one branch for every combination.",
)
@click.option(
    "--name", metavar="BRANCH", help="Name of the new branch; of several, how their names begin."
)
@click.option("--group", metavar="NAME", help="Name of the group of several branches.")
@click.option(
    "--without-change",
    is_flag=True,
    help="Train as if the change that NODE made had not been made.",
)
@click.option(
    "--mode",
    help="exact: the whole state; weights: nothing else [exact, of a merge weights].",
)
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="NAME[,NAME]",
    help="A difference of the script that is intended, as its refusal names it.",
)
@click.option(
    "--resize",
    is_flag=True,
    help="With --mode weights: take the common rows of tensors whose size differs.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")
@click.option("--script", metavar="PATH", help="The script, if it is another one or has moved.")
@click.option("--cwd", metavar="DIR", help="The folder to start it in, if it has moved.")
@launch_options
@on_option
@click.option("--detach", is_flag=True, help="Return at once and let it train on its own.")
@click.option(
    "--slots",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many of several branches train at a time.",
)
@click.option(
    "--dry-run", is_flag=True, help="Only show what would be created, and what it would cost."
)
@click.option(
    "--env",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable for the process; may be given more than once.",
)
@click.option(
    "--keep-env", is_flag=True, help="Use the environment of this shell; restore no variables."
)
@click.option(
    "--strict",
    is_flag=True,
    help="End if the first update differs from the node's own continuation.",
)
@click.option(
    "--list", "lists", is_flag=True, help="Only list the settings that a resume of NODE may change."
)
@json_option
@pass_command_line
def resume(
    line: CommandLine,
    /,
    node: str,
    detach: bool,
    slots: int,
    dry_run: bool,
    lists: bool,
    on: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Continue training from a NODE in a new process, as a new branch.

    NODE is an id, or RUN@STEP or RUN/BRANCH@STEP. Settings without --set stay as they are in the
    node; --list shows what --set accepts. A value may be relative to the node's: lr=x0.5;
    max_steps=+200 is 200 updates from the node on. With another max_steps, say how the schedule
    follows: horizon=extend spreads the rest of it over the remaining steps, horizon=rescale
    rebuilds it for the whole length. --mode weights takes only the weights, as far as they fit:
    optimizer, schedule, position and settings begin as the script has them, and weights that do
    not fit are listed.

    A list of values, a --grid, or several nodes make one branch each, in one group; all are checked
    before any starts. Settings whose values may contain commas, such as betas or frozen, have lists
    only in --grid, given once for each value.

    --script and --cwd say where the script and its folder are now, unless they moved with the home.

    With --on a cluster trains, in a job for each branch with the options after --; --dry-run shows
    it, and Ctrl-C leaves it.

    The exit code is that of the training process, or 1 if one of several failed. Ctrl-C asks for a
    stop at a node.

    \b
    Example: branchtrack resume 3fa9 --set lr=1e-4 --name cooler
             branchtrack resume demo@200 --set lr=x0.3,x1,x3 --dry-run
             branchtrack resume 3fa9 --grid lr=1e-4,3e-4 weight_decay=0,0.1 --slots 2
             branchtrack resume demo@100,demo@200 --name cooldown \\
                 --set lr_scheduler_type=linear max_steps=+50
             branchtrack resume 3fa9 --without-change
             branchtrack resume 3fa9 --on slurm --set lr=1e-4 -- --partition=main --gres=gpu:1
             branchtrack resume 3fa9 --on ray -- --address=http://HOST:8265 --num-gpus=1
    """
    if lists:
        list_settings(line, node, as_json)
        return
    with line.database() as database:
        order, details = read_order(database, node, **options)
        details["launcher"] = chosen(database, on, dry_run=dry_run)
        if dry_run:
            _dry_run(line, database, order, details, as_json)
            return
        trust.require(line, database)
        launches = _create(line, database, order, details, quiet=as_json)
        changed = origins.report_script_changes(database, launches[0], quiet=as_json)
        origins.report_environment(database, launches[0], quiet=as_json)
        launches = _start(line, database, launches, detach, slots, quiet=as_json)
        payloads = _payloads(database, launches, changed)
    _show(payloads, as_json)


def _dry_run(
    line: CommandLine, database: Database, order: ForkOrder, details: dict[str, Any], as_json: bool
) -> None:
    """Print what an order would do; exit with 2 if a branch of it is refused."""
    preview = _preview(line, database, order, details, details["allow_code_change"])
    preview |= job_preview(line, details["launcher"])
    if as_json:
        emit(jsonable(preview))
    else:
        print_preview(preview, "would create")
        print_job(preview)
        echo("Nothing was created: this was a dry run.")
    if preview["refused"]:
        raise click.exceptions.Exit(2)


def _preview(
    line: CommandLine,
    database: Database,
    order: ForkOrder,
    details: dict[str, Any],
    allow_code_change: bool,
) -> dict[str, Any]:
    from branchtrack import control

    names = ("reason", "entry_point", "priority", "labels", "retries")
    return control.preview_launches(
        database,
        line.store,
        order,
        actor=control.local_actor(),
        allow_code_change=allow_code_change,
        **{name: details[name] for name in names},
    )


def _create(
    line: CommandLine, database: Database, order: ForkOrder, details: dict[str, Any], quiet: bool
) -> list[Launch]:
    """Queue the launches of an order; what they will do is printed first unless ``quiet``."""
    from branchtrack import control
    from branchtrack.cli.commands.storage import make_whole

    for node in order.nodes if order.mode != "weights" else ():
        make_whole(line, database, node, details["entry_point"])
    if not quiet:
        # Whether other code is allowed is asked for later.
        preview = _preview(line, database, order, details, allow_code_change=True)
        if not preview["refused"]:
            print_preview(preview, "creates")
            echo()
    allowed = details.pop("allow_code_change")
    create = partial(
        control.create_launches,
        database,
        line.store,
        order,
        actor=control.local_actor(),
        **details,
    )
    return order_asking(create, allowed, quiet)


def _start(
    line: CommandLine,
    database: Database,
    launches: list[Launch],
    detach: bool,
    slots: int,
    quiet: bool,
) -> list[Launch]:
    """Have what was ordered trained, here or by its cluster; return the launches as they are."""
    if launches[0].launcher is not None:
        return carry_out(line, database, launches, detach, quiet)
    if detach:
        _detach(line, launches, slots)
        return launches
    return _follow(line, database, launches, slots, quiet)


def _detach(line: CommandLine, launches: Sequence[Launch], slots: int) -> None:
    from branchtrack.launching import foreground

    if len(launches) == 1:
        foreground.detach(line.config, launches[0].id)
    else:
        foreground.detach_queue(line.config, launches[0].id, slots)


def _follow(
    line: CommandLine, database: Database, launches: list[Launch], slots: int, quiet: bool
) -> list[Launch]:
    """Train what was ordered until it ends; return the launches as they are then."""
    if len(launches) == 1:
        return [show_launch(line, database, launches[0], quiet=quiet)]
    return show_launches(line, database, launches, slots, quiet=quiet)


def _payloads(
    database: Database, launches: Sequence[Launch], changed: bool
) -> list[dict[str, Any]]:
    """Return the launches as `payloads_requests.launch` does, and what was found out here."""
    from branchtrack.analysis import payloads_requests

    remembered = [origins.is_remembered(database, launch) for launch in launches]
    with database.read() as connection:
        payloads = [payloads_requests.launch(connection, launch) for launch in launches]
    return [
        payload | {"script_changed": changed, "remembered": is_remembered}
        for payload, is_remembered in zip(payloads, remembered, strict=True)
    ]


def _show(payloads: list[dict[str, Any]], as_json: bool) -> None:
    """Show how launches ended, and exit as they did."""
    single = payloads[0] if len(payloads) == 1 else None
    if as_json:
        emit(single or payloads)
    else:
        echo("\n\n".join("\n".join(launch_lines(payload)) for payload in payloads))
    exit_as(payloads)
