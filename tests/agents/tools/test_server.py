"""The MCP server, asked by the SDK's own client."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mcp
import pytest

from branchtrack.agents.tools import server
from branchtrack.client.client import Client
from branchtrack.config import load
from branchtrack.db import tokens
from branchtrack.db.schema import open_database
from branchtrack.errors import InvalidInput
from tests.agents.tools.conftest import Ask, finished
from tests.web.conftest import Site


async def _tools(target: object) -> list[mcp.Tool]:
    async with mcp.Client(target) as session:
        return (await session.list_tools()).tools


def test_there_are_few_tools_and_each_says_whether_it_only_reads() -> None:
    with Client("http://127.0.0.1:1", "t") as client:
        tools = finished(_tools(server.create(client)))
    assert [tool.name for tool in tools] == [*server.READING, *server.WRITING]
    assert len(tools) <= 13 and all(tool.description for tool in tools)
    reading = {t.name for t in tools if t.annotations and t.annotations.read_only_hint}
    assert reading == set(server.READING)


def test_every_tool_refuses_arguments_that_it_does_not_know(ask: Ask) -> None:
    with Client("http://127.0.0.1:1", "t") as client:
        tools = finished(_tools(server.create(client)))
    for tool in tools:
        assert tool.input_schema["additionalProperties"] is False, tool.name
        refused = ask(tool.name, dry_run=True)
        assert "Unknown arguments: dry_run." in refused and "Nothing was changed." in refused
        assert ", ".join(tool.input_schema["properties"]) in refused


def test_a_fork_with_an_argument_that_is_not_known_is_not_made(ask: Ask, own: Site) -> None:
    refused = ask("fork", node=own.node("main"), settings={"lr": 1e-3}, reason="x", dry_run=True)
    assert "dry_run" in refused and "node, settings, reason, name, mode" in refused
    assert ask("overview")["queued"] == []
    many = ask("tree", run="digits", **{f"x{number}" * 200: 1 for number in range(50)})
    assert "and more" in many and len(many) < 4000


def test_arguments_of_another_type_are_named_with_what_is_allowed(ask: Ask) -> None:
    refused = {
        "run: 5 is not accepted; allowed: non-empty text.": ask("tree", run=5),
        "run is missing: non-empty text.": ask("tree"),
        "values: [1] is not accepted; allowed: an object.": ask(
            "set", branch="digits", values=[1], reason="x"
        ),
        "until_step: 1.5 is not accepted; allowed: a whole number or null.": ask(
            "wait", branch="digits", until_step=1.5
        ),
        "detail: 'some' is not accepted; allowed: true or false.": ask(
            "node", node="digits@0", detail="some"
        ),
        "seconds: 'NaN' is not accepted; allowed: a finite number.": ask(
            "wait", branch="digits", seconds="NaN"
        ),
    }
    for sentence, answer in refused.items():
        assert sentence in answer and "Nothing was changed." in answer
        assert "pydantic" not in answer and "http" not in answer


@pytest.mark.parametrize("name", ["", "\ud7ff💥", "x" * 100_000, "..", "../runs", "a/b/c", "\0"])
def test_whatever_is_given_as_a_name_the_error_has_a_text(ask: Ask, name: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("overview", {"run": name}),
        ("tree", {"run": name}),
        ("node", {"node": name}),
        ("compare", {"a": name, "b": "digits"}),
        ("curve", {"branch": name}),
        ("alerts", {"run": name}),
        ("set", {"branch": name, "values": {"lr": 1e-3}, "reason": "flat"}),
        ("fork", {"node": name, "settings": {}, "reason": "flat"}),
        ("propose", {"branch": name, "values": {}, "reason": "flat"}),
        ("note", {"branch": name, "text": "hm"}),
        ("trial", {"node": name, "settings": {"lr": "x0.5"}, "reason": "flat"}),
        ("verdict", {"trial": name}),
        ("verdict", {"run": name}),
        ("wait", {"trial": name}),
        ("wait", {"request": name}),
        ("wait", {"launch": name}),
        ("wait", {"branch": name}),
    ]
    for tool, arguments in calls:
        answer = ask(tool, **arguments)
        assert isinstance(answer, str), (tool, answer)
        assert "is not accepted" in answer or "There is no" in answer, (tool, answer)
        assert "/api" not in answer and len(answer) < 500, answer


def test_a_fault_of_a_tool_is_an_error_with_a_text(
    ask: Ask, own: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise UnicodeError("no such \x00character\nmore")

    monkeypatch.setattr(Client, "tree", fail)
    monkeypatch.setattr(Client, "nodes", fail)
    monkeypatch.setattr(Client, "resume", fail)
    read = ask("tree", run="digits")
    assert "UnicodeError: no such character" in read and "nothing was changed" in read
    assert "more" not in read
    written = ask("fork", node=own.node("main"), settings={}, reason="x")
    assert "UnicodeError" in written and "look with `overview`" in written
    assert "The tool tree failed." in caplog.text and "Traceback" in caplog.text


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

    async def look() -> tuple[Any, str]:
        async with mcp.Client(command) as session:
            overview = await session.call_tool("overview", {})
            missing = await session.call_tool("tree", {"run": "💥"})
            return overview.structured_content, str(missing.content[0])

    answer, missing = finished(look())
    assert answer["you"]["role"] == "viewer" and "There is no run '💥'" in missing
    database = open_database(load(home))
    with database.read() as connection:
        (token,) = tokens.list_all(connection)
    database.close()
    assert token.name.startswith("mcp-") and token.revoked_at is not None
