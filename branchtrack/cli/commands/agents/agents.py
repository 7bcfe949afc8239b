"""The command `agents`: who watches which run, what they used, and how to stop them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import ago, echo, emit, print_table, state, styled, visible
from branchtrack.core import formats

if TYPE_CHECKING:
    from branchtrack.core.agents.records import Agent
    from branchtrack.db.engine import Database


@click.command()
@click.argument("run", required=False)
@click.option("--stop", metavar="AGENT", help="Have an agent (its id, or RUN/NAME) end.")
@click.option("--change", metavar="AGENT", help="Give an agent another --mode, or --budget.")
@click.option("--mode", type=click.Choice(("observe", "propose", "act")), help="For --change.")
@click.option(
    "--budget",
    "limits",
    multiple=True,
    metavar="NAME=VALUE",
    help="For --change; may be repeated.",
)
@click.option("--exchanges", metavar="AGENT", help="Show what an agent and its model said.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, help="Exchanges to show [20].")
@json_option
@pass_command_line
def agents(
    line: CommandLine,
    run: str | None,
    stop: str | None,
    change: str | None,
    mode: str | None,
    limits: tuple[str, ...],
    exchanges: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the agents of a RUN, or of all runs, with what they used of their budgets.

    \b
    Example: branchtrack agents demo
             branchtrack agents --stop demo/guard
             branchtrack agents --change demo/guard --mode act --budget branches=3
    """
    from branchtrack.analysis import payloads_agents
    from branchtrack.db.runs import find_run
    from branchtrack.db.watching import agents as rows

    with line.database() as database:
        if exchanges is not None:
            _show_exchanges(database, exchanges, limit, as_json)
            return
        if change is None and (mode or limits):
            raise click.UsageError("--mode and --budget are of the agent that --change names.")
        ordered = _order(database, stop, change, mode, limits)
        with database.read() as connection:
            run_id = None if run is None else find_run(connection, run).id
            listed = rows.listed(connection, run_id) if ordered is None else [ordered]
            now = time.time()
            payload = [payloads_agents.agent(connection, record, now) for record in listed]
    if as_json:
        emit(payload if ordered is None else payload[0])
        return
    if not payload:
        echo("No agents. `branchtrack agent RUN --policy guard` starts one.")
    print_table(
        ("AGENT", "RUN", "POLICY", "MODE", "STATE", "STEP", "USED", "HEARD OF", "NOTE"),
        [_row(row) for row in payload],
        right="STEP",
    )


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    limits = {name: limit for name, limit in row["budget"].items() if limit is not None}
    used = ", ".join(
        f"{_amount(row['spent'].get(name, 0))}/{_amount(limit)} {name}"
        for name, limit in limits.items()
        if name != "per_1000_steps"
    )
    return (
        styled(row["name"], bold=True),
        f"{row['run']}/{row['branch'] or '*'}",
        row["policy"],
        row["mode"],
        state(row["state"]),
        formats.steps(row["step"]),
        used,
        ago(row["heartbeat_at"]) if row["heartbeat_at"] else "",
        visible(row["note"])[:100],
    )


def _amount(value: Any) -> str:
    """Return a number with few digits; what a record holds in place of one as it is."""
    try:
        return f"{value:g}"
    except (TypeError, ValueError, OverflowError):
        return visible(str(value))


def _order(
    database: Database,
    stop: str | None,
    change: str | None,
    mode: str | None,
    limits: tuple[str, ...],
) -> Agent | None:
    """Carry out what is ordered about an agent, and return it; None if nothing is."""
    from branchtrack import control
    from branchtrack.control.proposals import agent_orders
    from branchtrack.core.settings import parse_assignments

    who = control.local_actor()
    if stop is not None:
        return agent_orders.stop(database, stop, actor=who)
    if change is None:
        return None
    budget = parse_assignments(limits, "budget")
    return agent_orders.change(database, change, actor=who, mode=mode, budget=budget)


def _show_exchanges(database: Database, ref: str, limit: int, as_json: bool) -> None:
    from branchtrack.analysis import payloads_agents
    from branchtrack.db.watching import agents as rows
    from branchtrack.db.watching import exchanges

    with database.read() as connection:
        agent = rows.find(connection, ref)
        listed = exchanges.of_agent(connection, agent.id, limit)
        total = exchanges.count(connection, agent.id)
    payload = [payloads_agents.exchange(record) for record in listed]
    if len(payload) < total:
        echo(f"{len(payload):,} of {total:,} exchanges; --limit shows more.", err=True)
    if as_json:
        emit(payload)
        return
    for row in payload:
        tokens = f"{row['tokens_in'] or 0:,} + {row['tokens_out'] or 0:,} tokens"
        head = f"step {formats.steps(row['step'])} {row['outcome']}"
        echo(f"{styled(head, bold=True)}, {tokens}, {row['seconds']:.1f} s, {row['model']}")
        for message in row["prompt"]:
            echo(styled(f"{message['role']}:", dim=True))
            echo(visible(str(message["content"])))
        echo(styled("answer:", dim=True))
        echo(visible(row["answer"]))
        if row["error"]:
            echo(f"error: {visible(row['error'])}")
