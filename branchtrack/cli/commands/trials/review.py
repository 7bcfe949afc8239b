"""The command `review`: which of a run's interventions helped?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.commands import trust
from branchtrack.cli.commands.trials.trial import trial_options
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.launch_options import order_asking
from branchtrack.cli.output import echo, emit
from branchtrack.cli.trial_lines import print_review
from branchtrack.cli.trial_progress import detach_trials, train_trials
from branchtrack.core.formats import plural

if TYPE_CHECKING:
    from branchtrack.control.trials.review import Reviewed
    from branchtrack.db.engine import Database


@click.command()
@click.argument("run")
@click.option(
    "--repeats", type=int, default=6, show_default=True, help="Pairs of each change at most."
)
@trial_options
@click.option("--budget", type=int, metavar="STEPS", help="Updates of all trials together at most.")
@click.option("--again", is_flag=True, help="Try also what has a verdict already.")
@json_option
@pass_command_line
def review(
    line: CommandLine,
    /,
    run: str,
    slots: int,
    detach: bool,
    dry_run: bool,
    reason: str,
    allow_code_change: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Try every intervention of a RUN: the road taken beside the road not taken.

    Each change of settings, by whomever, is tried as `branchtrack trial NODE --intervention` does,
    and its verdict stands with its node from then on. What has a verdict is not tried again. With a
    --budget the first changes are tried, as far as it goes.

    \b
    Example: branchtrack review demo --steps 50
             branchtrack review demo --budget 20000 --dry-run
    """
    from functools import partial

    from branchtrack import control
    from branchtrack.control.trials.review import order_review, plan_review

    with line.database() as database:
        with database.read() as connection:
            rows = plan_review(connection, run, **options)
        if not dry_run and any(row.order for row in rows):
            trust.require(line, database)
            actor = control.local_actor()
            order = partial(order_review, database, line.store, rows, actor=actor, reason=reason)
            rows = order_asking(order, allow_code_change, quiet=as_json)
        if not dry_run:
            rows = _trained(line, database, rows, slots, detach, quiet=as_json)
        _show(rows, dry_run, as_json)


def _trained(
    line: CommandLine,
    database: Database,
    rows: list[Reviewed],
    slots: int,
    detach: bool,
    quiet: bool,
) -> list[Reviewed]:
    """Carry out the trials that are not over, or hand them over; return the rows with them."""
    from dataclasses import replace

    running = [row.trial for row in rows if row.trial and row.trial.state == "running"]
    if detach or not running:
        detach_trials(line, running, slots)
        return rows
    now = {trial.id: trial for trial in train_trials(line, database, running, slots, quiet)}
    return [
        replace(row, trial=now.get(row.trial.id, row.trial)) if row.trial else row for row in rows
    ]


def _show(rows: list[Reviewed], dry_run: bool, as_json: bool) -> None:
    from branchtrack.analysis.trials import payloads

    if not rows and not as_json:
        echo("Nothing to review: no intervention and no fork of this run changed a setting.")
        return
    payload = {**payloads.review(rows), "steps": sum(row.steps for row in rows)}
    if as_json:
        emit(payload)
        return
    print_review(payload)
    if dry_run:
        planned = sum(row.order is not None for row in rows)
        echo(f"would make {plural(planned, 'trial')} of {payload['steps']:,} updates at most")
        echo("Nothing was created: this was a dry run.")
