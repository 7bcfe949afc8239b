"""The command `alerts`: what was noticed about trainings, and the forks that would mend it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import ago, echo, emit, styled, visible
from branchtrack.core import formats
from branchtrack.core.health.alerts import LEVELS
from branchtrack.core.nonfinite import spelled

if TYPE_CHECKING:
    from branchtrack.db.engine import Database

_PACE = 1.0
_COLOURS = {"error": "red", "warn": "yellow", "info": "cyan"}


@click.command()
@click.argument("run", required=False, metavar="[RUN|RUN/BRANCH]")
@click.option(
    "--since",
    type=click.IntRange(0, 2**62),
    metavar="CURSOR",
    help="Only what came after the cursor that an earlier call printed.",
)
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    help="The least urgent level.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="How many alerts.",
)
@click.option("--all", "everything", is_flag=True, help="All alerts.")
@click.option(
    "--seen",
    "seen",
    multiple=True,
    metavar="ID|all",
    help="Mark an alert as seen, may be repeated; or all alerts of RUN.",
)
@click.option("--follow", is_flag=True, help="Continue with new alerts, until interrupted.")
@json_option
@pass_command_line
def alerts(
    line: CommandLine,
    /,
    run: str | None,
    since: int | None,
    level: str,
    limit: int,
    everything: bool,
    seen: tuple[str, ...],
    follow: bool,
    as_json: bool,
) -> None:
    """List the alerts of a RUN, of RUN/BRANCH, or of all runs, oldest first.

    An alert says what is wrong with a training, or what its script has to say, and offers the fork
    that would mend it with the command that makes it. `branchtrack watch RUN` says what a run is
    watched for. The last line is the cursor: --since CURSOR lists only what came later.

    \b
    Example: branchtrack alerts demo
             branchtrack alerts --level warn --since 41 --json
    """
    from branchtrack.analysis import payloads_alerts

    scope: dict[str, Any] = {"level": level, "limit": None if everything else limit}
    with line.database() as database:
        _mark(database, run, seen)
        _look(line, database)
        with database.read() as connection:
            page = payloads_alerts.page(connection, run, since=since, **scope)
        if not follow:
            _print(page, as_json)
            return
        while True:
            for alert in page["alerts"]:
                echo(json.dumps(spelled(alert)) if as_json else "\n".join(_lines(alert)))
            if not page["more"]:
                time.sleep(_PACE)
                _look(line, database)
            with database.read() as connection:
                page = payloads_alerts.page(connection, run, since=page["cursor"], **scope)


def _mark(database: Database, run: str | None, seen: tuple[str, ...]) -> None:
    from branchtrack import control
    from branchtrack.control.alerts import rules

    who = control.local_actor()
    for ref in seen:
        if ref != "all":
            rules.mark_seen(database, ref, actor=who)
        elif run is None or "/" in run:
            raise click.UsageError("--seen all needs a RUN.")
        else:
            rules.mark_all_seen(database, run, actor=who)


def _look(line: CommandLine, database: Database) -> None:
    """Notice what no process has said, and send what is to be sent."""
    from branchtrack.control.alerts import delivery, watch

    watch.look(database, line.config)
    delivery.deliver(database, delivery.from_environment())


def _print(page: dict[str, Any], as_json: bool) -> None:
    if page["more"]:
        echo(
            f"There are more than these {len(page['alerts']):,} alerts; --all lists them.", err=True
        )
    if as_json:
        emit(page)
        return
    for alert in page["alerts"]:
        echo("\n".join(_lines(alert)))
    if not page["alerts"]:
        echo("No alerts.")
    echo(styled(f"cursor {page['cursor']}", dim=True))


def _lines(alert: dict[str, Any]) -> list[str]:
    level = styled(alert["level"].ljust(5), _COLOURS[alert["level"]])
    where = f"{alert['run']}/{alert['branch']}" if alert["branch"] else alert["run"]
    step = f", step {formats.steps(alert['step'])}" if alert["step"] is not None else ""
    seen = f", seen by {visible(alert['seen_by'])}" if alert["seen_by"] else ""
    facts = f"{where}{step}, {ago(alert['created_at'])}{seen}"
    lines = [f"{level} {styled(alert['id'][:8], bold=True)}  {facts}"]
    lines += [f"      {text}" for text in visible(alert["text"]).splitlines()]
    if alert["proposal"] is not None:
        lines.append(styled(f"      {alert['proposal']['command']}", dim=True))
    return lines
