"""A home with a run that trains, and the tools of its coding agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mcp
import pytest

from branchtrack.agents.tools import server
from branchtrack.client.client import Client
from branchtrack.client.connection import in_process
from branchtrack.db import tokens
from branchtrack.web.app import create_app
from tests.web.conftest import Site
from tests.web.conftest import empty as empty
from tests.web.conftest import own as own
from tests.web.conftest import small as small

Ask = Callable[..., Any]


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns, in a thread of its own: browser tests leave a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def asker(site: Site, role: str) -> Ask:
    """What calls a tool as a token of that role would; an error is its text."""
    with site.database.transaction() as connection:
        _token, secret = tokens.create(connection, f"coder-{role}", role, created_by="ann")
    app = create_app(site.config, site.database, site.store, token="the-servers-own")
    transport = in_process(app)

    async def call(name: str, arguments: dict[str, Any]) -> Any:
        with Client("http://127.0.0.1", secret, transport=transport) as client:
            async with mcp.Client(server.create(client)) as session:
                result = await session.call_tool(name, arguments)
        if result.is_error:
            return result.content[0].text
        return result.structured_content

    return lambda tool, /, **arguments: finished(call(tool, arguments))


@pytest.fixture
def ask(own: Site) -> Ask:
    """The tools of an agent."""
    own.lines["main"].beat()
    return asker(own, "agent")
