"""The command `trust`, and the question that other commands ask before they start anything."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from branchtrack import config, redaction, scripts, trust
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, spelled_name
from branchtrack.error_payload import jsonable
from branchtrack.errors import UntrustedHome

if TYPE_CHECKING:
    from branchtrack.core.records import Launch
    from branchtrack.db.engine import Database

#: Commands shown at most, and characters of each.
_MOST, _LONGEST = 20, 400


@click.command("trust")
@click.argument("home", required=False, metavar="[HOME]")
@click.option("--yes", is_flag=True, help="Trust it without asking.")
@click.option("--remove", is_flag=True, help="Stop trusting it: nothing is started from it.")
@json_option
@pass_command_line
def trust_home(line: CommandLine, home: str | None, yes: bool, remove: bool, as_json: bool) -> None:
    """Show which commands a home would start, and trust it.

    A home that this user created is trusted from the start. One from elsewhere, copied or replaced,
    is not: `serve`, `worker`, `resume` and `certify` start nothing from it. With --json its
    commands are only shown, unless --yes is given. Exits with 1 if the answer is no.

    \b
    Example: branchtrack trust downloads/run/.branchtrack
    """
    if yes and remove:
        raise click.UsageError("--yes and --remove cannot be combined.")
    if home is not None:
        line = CommandLine(config.load(home))
    with line.database() as database:
        orders, commands = _orders(database), _commands(database)
    was_trusted = trust.forget(line.config) if remove else trust.is_trusted(line.config)
    if not as_json and not remove and not was_trusted:
        _show(line, orders, commands)
    is_new = not (remove or was_trusted) and (yes or (not as_json and _confirmed()))
    file = trust.mark(line.config) if is_new else None
    is_trusted = is_new or (was_trusted and not remove)
    if as_json:
        emit(
            jsonable(
                {
                    "home": line.config.home,
                    "database": config.without_password(line.config.database_url),
                    "trusted": is_trusted,
                    "queued": orders,
                    "commands": commands,
                }
            )
        )
        return
    _say_how_it_is(line, is_new, file, is_trusted)
    if not is_trusted and not remove:
        raise click.exceptions.Exit(1)


def require(line: CommandLine, database: Database) -> None:
    """Ask before a process is started from a home that is not trusted.

    Raises:
        UntrustedHome: it is not trusted, and the answer is no or there is no terminal to ask at.
        ReadOnlyHome: nothing can be started from it in any case.
    """
    database.check_writable()
    if trust.is_trusted(line.config):
        return
    orders = _orders(database)
    if is_interactive():
        _show(line, orders, _commands(database))
        if _confirmed():
            trust.mark(line.config)
            return
    try:
        trust.check(line.config)
    except UntrustedHome as error:
        queue = [f"{order['command']} ({order['branch']})" for order in orders]
        raise UntrustedHome(error.path, replaced=error.replaced, orders=_cut(queue)) from None


def is_interactive() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _orders(database: Database) -> list[dict[str, Any]]:
    """Return the launches that a worker would start, oldest first."""
    from branchtrack.db import runs
    from branchtrack.db.orders import launches

    with database.read() as connection:
        return [
            {
                "launch": launch.id,
                "branch": f"{run.name}/{launches.branch_name(connection, launch)}",
                "actor": launch.actor,
                "reason": launch.reason,
                "command": _command_text(launch.entry_point or run.entry_point),
                "env": _variables(launch, launch.entry_point or run.entry_point),
            }
            for launch in launches.unfinished(connection)
            if launch.state != "running"
            for run in [runs.get_run(connection, launch.run_id)]
        ]


def _commands(database: Database) -> list[dict[str, Any]]:
    """Return the distinct commands that a resume could start, each with its newest run."""
    from branchtrack.db.orders import launches

    with database.read() as connection:
        recorded = launches.recorded_commands(connection)
    distinct: dict[str, dict[str, Any]] = {}
    for name, entry_point in recorded:
        words, env = (
            _command_text(entry_point),
            redaction.redacted_values(entry_point.get("env") or {}),
        )
        distinct.setdefault(words, {"run": name, "command": words, "env": env})
    return list(distinct.values())


def _command_text(entry_point: dict[str, Any] | None) -> str:
    return (
        scripts.describe(entry_point) if entry_point and entry_point.get("argv") else "no command"
    )


def _variables(launch: Launch, entry_point: dict[str, Any] | None) -> dict[str, Any]:
    chosen = (launch.environment or {}).get("given") or {}
    return redaction.redacted_values({**((entry_point or {}).get("env") or {}), **chosen})


def _show(line: CommandLine, orders: list[dict[str, Any]], commands: list[dict[str, Any]]) -> None:
    home, owners = line.config.home, trust.owners(line.config)
    echo(
        f"The home {home} is not trusted: it was not made here, was copied, or was replaced.",
        err=True,
    )
    if owners - {os.geteuid()}:
        echo(f"It belongs to another user ({', '.join(map(str, sorted(owners)))}).", err=True)
    _list(
        "It would start now:",
        [f"{_describe_command(order)}  for {order['branch']}" for order in orders],
    )
    descriptions = [
        f"{_describe_command(command)}  of run {command['run']}" for command in commands
    ]
    _list("A resume would start:", descriptions)


def _list(title: str, lines: list[str]) -> None:
    echo(title if lines else f"{title} nothing.", err=True)
    for text in _cut(lines):
        echo(f"  {text}", err=True)


def _describe_command(command: dict[str, Any]) -> str:
    env = " ".join(f"{name}={value}" for name, value in sorted(command["env"].items()))
    text = f"{env} {command['command']}".strip()
    return spelled_name(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


def _cut(lines: list[str]) -> list[str]:
    more = [f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return [*lines[:_MOST], *more]


def _confirmed() -> bool:
    return is_interactive() and click.confirm("Trust this home?", err=True)


def _say_how_it_is(line: CommandLine, is_new: bool, file: object, is_trusted: bool) -> None:
    home = line.config.home
    if is_new and file is None:
        echo(
            "error: No file of yours can be written to say so: set XDG_CONFIG_HOME to a folder "
            "that can be written.",
            err=True,
        )
        raise click.exceptions.Exit(1)
    if is_trusted:
        echo(f"{home} is trusted" + (f", by {file}." if is_new else "."))
    else:
        echo(
            f"{home} is not trusted: nothing is started from it. "
            f"`branchtrack trust {shlex.quote(str(home))} --yes` trusts it."
        )
