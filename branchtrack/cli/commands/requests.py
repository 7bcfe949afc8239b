"""Commands on what a run can be asked for and was: settings, requests, cancel."""

from __future__ import annotations

from typing import Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import (
    ago,
    echo,
    emit,
    number,
    pairs,
    print_table,
    say_cut,
    state,
    styled,
    visible,
)
from branchtrack.cli.request_options import check_timeout, show_answer, wait_for


@click.command()
@click.argument("run")
@click.option("--all", "everything", is_flag=True, help="Also those of single groups and modules.")
@json_option
@pass_command_line
def settings(line: CommandLine, run: str, everything: bool, as_json: bool) -> None:
    """List what a RUN (or RUN/BRANCH) can be asked for: its settings and its own actions.

    \b
    Example: branchtrack settings demo
    """
    from branchtrack.analysis import payloads_steering
    from branchtrack.db.runs import find_branch

    with line.read() as connection:
        found = payloads_steering.settings(connection, find_branch(connection, run))
    if as_json:
        emit(found)
        return
    where = f"{found['run']}/{found['branch']}"
    echo(f"{styled(where, bold=True)} {state(found['status'])}, step {number(found['step'])}")
    shown = [one for one in found["settings"] if everything or not one["detail"]]
    used = "USED" if found["effective_step"] is None else f"USED AT {found['effective_step']}"
    print_table(
        ("SETTING", "NOW", used, "TYPE", "ALLOWED", "HOLDS"),
        [_setting_row(one) for one in shown],
        right=f"NOW {used}",
    )
    hidden = len(found["settings"]) - len(shown)
    if hidden:
        echo(f"and {hidden} of single groups and modules: --all lists them.")
    _print_actions(found)


def _setting_row(one: dict[str, Any]) -> tuple[str, ...]:
    used = number(one["effective"], 6)
    if one["effective_now"] is not None:
        used += f" (now {number(one['effective_now'], 6)})"
    unit = f" {one['unit']}" if one["unit"] and one["value"] is not None else ""
    name = styled(one["name"], bold=True)
    value = number(one["value"], 6) + unit
    return name, value, used, one["type"], one["allowed"], one["effect"]


def _print_actions(found: dict[str, Any]) -> None:
    if found["actions"]:
        echo()
    for one in found["actions"]:
        given = [
            f"{p['name']}={p['type']}" if p["required"] else f"[{p['name']}={number(p['default'])}]"
            for p in one["parameters"]
        ]
        told = f"  {one['about']}" if one["about"] else ""
        echo(" ".join([styled(one["name"], bold=True), *given]) + told)
        for p in one["parameters"]:
            echo(styled(f"    {p['name']}: {p['allowed']}", dim=True))


@click.command()
@click.argument("run")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many."
)
@click.option("--all", "everything", is_flag=True, help="All requests.")
@json_option
@pass_command_line
def requests(line: CommandLine, run: str, limit: int, everything: bool, as_json: bool) -> None:
    """List what a RUN was asked for, newest first, and what became of it.

    \b
    Example: branchtrack requests demo
    """
    from branchtrack import control
    from branchtrack.analysis import payloads
    from branchtrack.db import refusals
    from branchtrack.db import requests as rows
    from branchtrack.db.runs import find_run

    with line.database() as database:
        with database.read() as connection:
            run_id = find_run(connection, run).id
        control.expire_hanging(database, run_id, control.local_actor())
        with database.read() as connection:
            most = None if everything else limit
            found = [payloads.request(one) for one in rows.list_of_run(connection, run_id, most)]
            total = rows.count_of_run(connection, run_id)
            counted = [payloads.refusals(one) for one in refusals.of_run(connection, run_id)]
    say_cut(len(found), total, "requests")
    if as_json:
        emit(found)
        return
    if not found:
        echo("Nobody has asked this run for anything yet.")
    print_table(
        ("REQUEST", "STATE", "WHAT", "STEP", "ASKED", "WHO", "WHY"),
        [
            (
                one["id"][:8],
                state(one["state"]),
                _what(one),
                number(one["step"]),
                ago(one["created_at"]),
                one["actor"],
                visible(one["error"] or one["reason"]),
            )
            for one in found
        ],
        right="STEP",
    )
    for one in counted:
        echo(
            f"{one['count']:,} more of {one['actor']} were refused ({one['kind']}) and counted, "
            f"the last {ago(one['last_at'])}."
        )


def _what(one: dict[str, Any]) -> str:
    given = one["requested"] or one["payload"]
    return f"{one['kind']} {pairs(given)}".rstrip()[:80]


@click.command()
@click.argument("request")
@click.option(
    "--timeout",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answer.",
)
@click.option("--no-wait", is_flag=True, help="Ask, and do not wait for the answer.")
@json_option
@pass_command_line
def cancel(line: CommandLine, request: str, timeout: float, no_wait: bool, as_json: bool) -> None:
    """Take back a REQUEST that waits; the training process says whether that was in time.

    Exits with 1 where it was carried out all the same.

    \b
    Example: branchtrack cancel 4b1d
    """
    from branchtrack import control
    from branchtrack.core.actors import Actor
    from branchtrack.core.lifecycle import REQUEST_ENDS

    check_timeout(timeout)
    with line.database() as database:
        found = control.cancel(database, request, actor=Actor(control.local_actor()))
        if found.state not in REQUEST_ENDS and not no_wait:
            found = wait_for(database, found.id, timeout)
    show_answer(found, as_json)
    if not no_wait and found.state not in ("cancelled", "expired"):
        raise click.exceptions.Exit(1)
