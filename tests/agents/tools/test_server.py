"""The MCP server, asked by the SDK's own client."""

from __future__ import annotations

import sys
from pathlib import Path

import mcp
import pytest

from branchtrack.agents.tools import server
from branchtrack.client.client import Client
from branchtrack.config import load
from branchtrack.db import tokens
from branchtrack.db.schema import open_database
from branchtrack.errors import InvalidInput
from tests.agents.tools.conftest import finished


async def _tools(target: object) -> list[mcp.Tool]:
    async with mcp.Client(target) as session:  # type: ignore[arg-type]
        return (await session.list_tools()).tools


def test_there_are_few_tools_and_each_says_whether_it_only_reads() -> None:
    with Client("http://127.0.0.1:1", "t") as client:
        tools = finished(_tools(server.create(client)))
    assert [tool.name for tool in tools] == [*server.READING, *server.WRITING]
    assert len(tools) <= 11 and all(tool.description for tool in tools)
    reading = {t.name for t in tools if t.annotations and t.annotations.read_only_hint}
    assert reading == set(server.READING)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    with Client("http://127.0.0.1:1", "t") as client, pytest.raises(InvalidInput, match="agents"):
        server.create(client)


def test_the_command_serves_a_home_over_stdio_and_its_token_ends_with_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    open_database(load(home), create=True).close()
    words = ["-m", "branchtrack", "--home", str(home), "mcp", "--role", "viewer"]
    root = str(Path(__file__).parents[3])
    command = mcp.StdioServerParameters(
        command=sys.executable, args=words, env={"PYTHONPATH": root, "PATH": "/usr/bin:/bin"}
    )

    async def look() -> object:
        async with mcp.Client(command) as session:
            return (await session.call_tool("overview", {})).structured_content

    answer = finished(look())
    assert answer is not None and answer["you"]["role"] == "viewer"  # type: ignore[index]
    database = open_database(load(home))
    with database.read() as connection:
        (token,) = tokens.list_all(connection)
    database.close()
    assert token.name.startswith("mcp-") and token.revoked_at is not None
