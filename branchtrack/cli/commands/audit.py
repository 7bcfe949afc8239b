"""The command `audit`: every event of a run, and whether their chain is intact.

It has to answer at once, so it loads the database layer only if a plain look is not enough.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, pairs, print_table, say_cut, state_name, visible
from branchtrack.core import formats
from branchtrack.core.nonfinite import spelled

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from branchtrack.core.records import Event
    from branchtrack.db.engine import Database

_DEFAULT = 200
_PACE = 0.5
_MOST = 1000


@click.command()
@click.argument("run")
@click.option("--verify", is_flag=True, help="Check the chain of every event.")
@click.option("--follow", is_flag=True, help="Continue with new events, until interrupted.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000_000),
    default=_DEFAULT,
    show_default=True,
    help="How many of the newest events.",
)
@click.option("--all", "everything", is_flag=True, help="All events.")
@json_option
@pass_command_line
def audit(
    line: CommandLine,
    run: str,
    verify: bool,
    follow: bool,
    limit: int,
    everything: bool,
    as_json: bool,
) -> None:
    """Print the events of a RUN, oldest first: who did what, when, at which step, and why.

    Each event has the digest of the one before it; --verify recomputes them all, compares the
    events with the record, and exits with 1 if either was changed, or an event was removed or
    inserted.

    \b
    Example: branchtrack audit demo --verify
    """
    from branchtrack.db.views import audit_tail

    if verify and follow:
        raise click.UsageError("--verify and --follow cannot be combined.")
    if verify:
        _verify(line, run, as_json)
        return
    most = 2**62 if everything else limit
    events = None if follow else audit_tail.newest(line.config.database_url, run, most)
    if events is not None:
        _print(events, as_json)
        return
    with line.database() as database:
        with database.read() as connection:
            run_id, events = _newest(connection, run, most)
        if follow:
            _follow(database, run_id, events, as_json)
        else:
            _print(events, as_json)


def _newest(connection: Connection, run: str, limit: int) -> tuple[str, list[Event]]:
    from branchtrack.db import audit as log
    from branchtrack.db.runs import find_run

    run_id = find_run(connection, run, trashed=True).id
    return run_id, log.newest(connection, run_id, limit)


def _print(events: list[Event], as_json: bool) -> None:
    # Events of a run are numbered from 1 without gaps.
    say_cut(len(events), events[-1].seq if events else 0, "events")
    if as_json:
        emit([_event_payload(event) for event in events])
        return
    print_table(
        ("SEQ", "TIME", "WHO", "WHAT", "STATE", "STEP", "FACTS", "WHY", "HASH"),
        [_cells(event) for event in events],
        right="SEQ STEP",
    )


def _event_payload(event: Event) -> dict[str, Any]:
    from branchtrack.analysis import payloads_audit

    return payloads_audit.event(event)


def _cells(event: Event) -> tuple[str, ...]:
    from branchtrack.analysis import payloads_audit

    payload, facts = _event_payload(event), pairs(payloads_audit.facts(event))
    return (
        str(event.seq),
        payload["time"],
        event.actor,
        f"{event.kind} {event.ref[:8]}",
        state_name(event.state),
        formats.steps(event.step),
        facts[:100],
        visible(event.reason[:100]),
        event.hash[:12],
    )


def _follow(database: Database, run_id: str, events: list[Event], as_json: bool) -> None:
    """Print events as they arrive, until Ctrl-C."""
    from branchtrack.db import audit as log

    last = 0
    while True:
        for event in events:
            last = event.id
            text = "  ".join(_cells(event)).replace("\n", "↵")
            echo(json.dumps(spelled(_event_payload(event))) if as_json else text)
        with database.read() as connection:
            events = log.since(connection, run_id, last, _MOST)
        if not events:
            time.sleep(_PACE)


def _verify(line: CommandLine, run: str, as_json: bool) -> None:
    from branchtrack.analysis import payloads_audit
    from branchtrack.db.runs import find_run

    with line.read() as connection:
        verdict = payloads_audit.chain(connection, find_run(connection, run, trashed=True))
    verdict["run"], broken = run, verdict["broken_at"]
    if as_json:
        emit(verdict)
    elif verdict["holds"]:
        echo(f"The chain of {verdict['events']} events holds; the last hash is {verdict['hash']}.")
    elif broken is None:
        untold = verdict["untold"]
        named = ", ".join(f"{item['kind']} {item['id'][:8]}" for item in untold[:5])
        named += f" and {len(untold) - 5} more" if len(untold) > 5 else ""
        echo(f"error: The record differs from the last events: {named}.", err=True)
    else:
        echo(
            f"error: The chain does not hold from event {broken} on: it or one before it "
            "was changed, removed or put in.",
            err=True,
        )
    if not verdict["holds"]:
        raise click.exceptions.Exit(1)
