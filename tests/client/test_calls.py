"""Paths, pages and answers of every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

import branchtrack
from branchtrack.client.client import Client
from branchtrack.errors import InvalidInput, NotFound
from branchtrack.schemas.access import TokenPage
from tests.client.conftest import BRANCH, URL
from tests.web.conftest import Site


def test_lists_are_read_page_after_page(own: Site, client: Client) -> None:
    for number in range(3):
        client.create_token(f"bot-{number}", "viewer")
    pages = client._pages("/tokens", TokenPage, "after", limit=2)
    assert [token.name for token in pages] == ["bot-0", "bot-1", "bot-2"]


def test_names_are_quoted(client: Client) -> None:
    for name in ("a?b#c", "ä", "💥", "%2e%2e", " "):
        with pytest.raises(NotFound) as missing:
            client.tree(name)
        assert missing.value.ref == name


REFERENCES: list[tuple[str, Callable[[Client, Any], Any]]] = [
    ("run", lambda client, name: client.run(name)),
    ("run", lambda client, name: client.tree(name)),
    ("run", lambda client, name: list(client.nodes(name))),
    ("run", lambda client, name: list(client.events(name))),
    ("node", lambda client, name: client.node(name)),
    ("node", lambda client, name: client.resume(name)),
    ("request_id", lambda client, name: client.wait(name)),
    ("launch_id", lambda client, name: client.launch(name)),
    ("entry", lambda client, name: client.purge(name)),
    ("name", lambda client, name: client.revoke_token(name)),
]


@pytest.mark.parametrize(("field", "call"), REFERENCES)
def test_no_name_leads_to_another_route(
    client: Client, field: str, call: Callable[[Client, Any], Any]
) -> None:
    for name in ("demo/tree", ".", "..", "../runs", "", "x" * 70_000, "\ud800", None, 5):
        with pytest.raises(InvalidInput) as refused:
            call(client, name)
        assert refused.value.field == field, name


def test_only_what_may_be_a_branch_is_split(client: Client) -> None:
    for ref in ("digits/", "/main", "digits/main/x", "digits/..", "", None, 5, 10**5000):
        calls: list[Callable[[Any], object]] = [client.settings, client.label, client.delete]
        for call in calls:
            with pytest.raises(InvalidInput):
                call(ref)
    assert client.settings(BRANCH).settings and client.label(BRANCH, ["good"]).tags == ["good"]


@pytest.mark.parametrize(
    ("status", "content"),
    [(307, b""), (200, b""), (200, b"<html>"), (200, b"[1]"), (200, b"{}"), (204, b"")],
)
def test_an_answer_of_another_program_is_an_error_of_the_family(
    status: int, content: bytes
) -> None:
    answer = httpx2.Response(status, content=content, headers={"Location": "/login"})
    with Client(URL, transport=httpx2.MockTransport(lambda _: answer)) as client:
        calls: list[Callable[[], object]] = [
            client.whoami,
            lambda: list(client.runs()),
            lambda: client.set("a/b", {}),
        ]
        for call in calls:
            with pytest.raises(branchtrack.BranchtrackError, match="--url-prefix"):
                call()
