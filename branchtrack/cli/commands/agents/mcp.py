"""The command `mcp`: the tools of coding agents over stdio, on this home or on a server."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from branchtrack.cli.context import CommandLine, pass_command_line

if TYPE_CHECKING:
    from branchtrack.client.client import Client

_LOCAL = "http://127.0.0.1"


@click.command()
@click.option("--url", metavar="URL", help="A server, in place of this home [BRANCHTRACK_URL].")
@click.option(
    "--role",
    type=click.Choice(("viewer", "agent", "operator")),
    default="agent",
    show_default=True,
    help="What its tools may do on this home.",
)
@pass_command_line
def mcp(line: CommandLine, url: str | None, role: str) -> None:
    """Serve the tools of coding agents by the Model Context Protocol, on standard input and output.

    With a server it is who the token in BRANCHTRACK_TOKEN is. On this home it has a token of its
    own while it runs. Needs the extra branchtrack[agents].

    \b
    Example: branchtrack mcp --role viewer
    """
    from branchtrack.agents.tools import server
    from branchtrack.client.client import Client
    from branchtrack.environment_variables import URL_VARIABLE

    address = url or os.environ.get(URL_VARIABLE)
    if address:
        with Client(address) as client:
            server.create(client).run("stdio")
        return
    with _client(line, role) as client:
        server.create(client).run("stdio")


@contextmanager
def _client(line: CommandLine, role: str) -> Iterator[Client]:
    """Yield a client of this home with a token of that role, which ends with it."""
    from branchtrack.client.client import Client
    from branchtrack.client.connection import in_process
    from branchtrack.control import local_actor
    from branchtrack.db import tokens
    from branchtrack.web.app import create_app

    with line.database() as database:
        database.check_writable()
        name = f"mcp-{os.getpid()}-{secrets.token_hex(3)}"
        with database.transaction() as connection:
            token, secret = tokens.create(connection, name, role, created_by=local_actor())
        try:
            app = create_app(line.config, database, line.store, token=secrets.token_urlsafe(24))
            with Client(_LOCAL, secret, transport=in_process(app)) as client:
                yield client
        finally:
            with database.transaction() as connection:
                tokens.revoke(connection, token.name)
