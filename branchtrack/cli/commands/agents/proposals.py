"""The commands `proposals`, `approve` and `decline`: what waits for a person's yes."""

from __future__ import annotations

from typing import Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import ago, echo, emit, pairs, print_table, visible
from branchtrack.cli.request_options import came_true, check_timeout, show_answer, wait_for
from branchtrack.core import formats


@click.command()
@click.argument("run", required=False)
@json_option
@pass_command_line
def proposals(line: CommandLine, run: str | None, as_json: bool) -> None:
    """List what agents and others propose for a RUN, or for all runs, and wait for.

    \b
    Example: branchtrack proposals demo
    """
    from branchtrack import control
    from branchtrack.analysis import payloads_agents
    from branchtrack.db import requests
    from branchtrack.db.runs import find_run

    with line.database() as database:
        with database.read() as connection:
            run_id = None if run is None else find_run(connection, run).id
        if not database.read_only:
            with database.transaction() as connection:
                control.expire_overdue(connection, control.local_actor(), run_id)
        with database.read() as connection:
            waiting = requests.proposals(connection, run_id)
            payload = [payloads_agents.proposal(connection, row) for row in waiting]
    if as_json:
        emit(payload)
        return
    if not payload:
        echo("Nothing waits for a decision.")
    print_table(
        ("PROPOSAL", "BRANCH", "WHAT", "SAW STEP", "MADE", "WHO", "WHY"),
        [_row(row) for row in payload],
        right="SAW STEP",
    )


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["id"][:8],
        f"{row['run']}/{row['branch']}",
        f"{row['kind']} {pairs(row['requested'])}".strip()[:80],
        formats.steps(row["asked_step"]),
        ago(row["created_at"]),
        row["actor"],
        visible(row["reason"]),
    )


@click.command()
@click.argument("proposal")
@click.option("--no-wait", is_flag=True, help="Do not wait for the training's answer.")
@click.option(
    "--timeout",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answer.",
)
@json_option
@pass_command_line
def approve(line: CommandLine, proposal: str, no_wait: bool, timeout: float, as_json: bool) -> None:
    """Have a PROPOSAL carried out; it stays in the name of whoever made it.

    Exits with 1 if it did not take effect.

    \b
    Example: branchtrack approve 3f2a
    """
    from branchtrack import control

    check_timeout(timeout)
    with line.database() as database:
        request = control.approve(
            database, line.store, proposal, actor=control.local_actor(), home=line.config.home
        )
        if no_wait or request.segment_id is None:
            show_answer(request, as_json)
            return
        request = wait_for(database, request.id, timeout)
    show_answer(request, as_json)
    if not came_true(request):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("proposal")
@click.option("--reason", default="", metavar="TEXT", help="Why not; kept in the record.")
@json_option
@pass_command_line
def decline(line: CommandLine, proposal: str, reason: str, as_json: bool) -> None:
    """Say no to a PROPOSAL; nothing is changed, and its maker is told why.

    \b
    Example: branchtrack decline 3f2a --reason "wait for the next evaluation"
    """
    from branchtrack import control
    from branchtrack.analysis import payloads_requests

    with line.database() as database:
        request = control.decline(database, proposal, actor=control.local_actor(), reason=reason)
    payload = payloads_requests.request(request)
    if as_json:
        emit(payload)
        return
    echo(f"{payload['id'][:8]} is declined.")
