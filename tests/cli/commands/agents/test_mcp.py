"""The command `mcp`: served over stdio by a process in `tests/agents/tools/test_server.py`."""

from __future__ import annotations

from branchtrack.cli.commands.agents.mcp import _client
from branchtrack.cli.context import CommandLine
from branchtrack.config import Config
from branchtrack.db import tokens
from branchtrack.db.engine import Database
from tests.cli.conftest import Call


def test_its_token_has_the_role_and_ends_with_it(config: Config, database: Database) -> None:
    with _client(CommandLine(config), "viewer") as client:
        assert client.whoami().role == "viewer"
        with database.read() as connection:
            assert tokens.list_all(connection)[0].revoked_at is None
    with database.read() as connection:
        assert tokens.list_all(connection)[0].revoked_at is not None


def test_another_role_is_refused(call: Call) -> None:
    assert call("mcp", "--role", "admin").code == 2
