"""The commands `token create`, `token list` and `token revoke`: who may use the server."""

from __future__ import annotations

from typing import Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import ago, emit, print_table, state, styled
from branchtrack.core import formats


@click.group()
def token() -> None:
    """Let people and programs use the server, each with a role of its own.

    \b
    viewer    may look
    operator  may steer and launch
    agent     may too, must give a reason, cancels only its own requests
    admin     may also create and revoke tokens

    \b
    Example: branchtrack token create anna --role operator
    """


@token.command()
@click.argument("name")
@click.option("--role", required=True, metavar="ROLE", help="viewer, operator, agent or admin.")
@click.option(
    "--only",
    metavar="NAMES",
    help="Settings and actions that it may use: names or patterns, separated by commas.",
)
@click.option(
    "--max-per-1000-steps",
    "limit",
    type=int,
    metavar="N",
    help="Requests it may make in any 1,000 updates of one run.",
)
@json_option
@pass_command_line
def create(
    line: CommandLine, name: str, role: str, only: str | None, limit: int | None, as_json: bool
) -> None:
    """Create a token, and print its secret, which is never shown again.

    \b
    Example: branchtrack token create tuner --role agent --only lr,checkpoint
    """
    from branchtrack import control
    from branchtrack.analysis import payloads_steering
    from branchtrack.db import tokens

    with line.database() as database, database.transaction() as connection:
        created, secret = tokens.create(
            connection,
            name,
            role,
            created_by=control.local_actor(),
            only=None if only is None else only.split(","),
            limit=limit,
        )
    if as_json:
        emit({**payloads_steering.token(created), "secret": secret})
        return
    click.echo(secret)
    click.echo(
        f"This is the secret of {created.name} ({created.role}). It cannot be shown again.",
        err=True,
    )


@token.command("list")
@json_option
@pass_command_line
def list_tokens(line: CommandLine, as_json: bool) -> None:
    """List the tokens, without their secrets.

    \b
    Example: branchtrack token list
    """
    from branchtrack.analysis import payloads_steering
    from branchtrack.db import tokens

    with line.read() as connection:
        entries = [payloads_steering.token(entry) for entry in tokens.list_all(connection)]
    if as_json:
        emit(entries)
        return
    if not entries:
        click.echo("No tokens. `branchtrack token create NAME --role ROLE` makes one.")
    print_table(
        ("TOKEN", "ROLE", "FOR", "PER 1000 STEPS", "MADE BY", "MADE", "USED", ""),
        [_row(entry) for entry in entries],
    )


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        styled(entry["name"], bold=True),
        entry["role"],
        ", ".join(entry["only"] or ["everything"]),
        formats.steps(entry["max_per_1000_steps"]),
        entry["created_by"],
        ago(entry["created_at"]),
        ago(entry["used_at"]) if entry["used_at"] else "never",
        state("revoked") if entry["revoked_at"] else "",
    )


@token.command()
@click.argument("name")
@json_option
@pass_command_line
def revoke(line: CommandLine, name: str, as_json: bool) -> None:
    """Revoke a token: it gives no access from now on.

    \b
    Example: branchtrack token revoke tuner
    """
    from branchtrack.analysis import payloads_steering
    from branchtrack.db import tokens

    with line.database() as database, database.transaction() as connection:
        done = tokens.revoke(connection, name)
    if as_json:
        emit(payloads_steering.token(done))
    else:
        click.echo(f"Token {done.name} is revoked.")
