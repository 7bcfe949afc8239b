"""Tokens made, listed and revoked at the shell."""

from __future__ import annotations

import pytest

from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def test_the_secret_is_shown_once(call: Call, forked: Forked) -> None:
    made = call(
        "token",
        "create",
        "tuner",
        "--role",
        "agent",
        "--only",
        "lr,checkpoint",
        "--max-per-1000-steps",
        "5",
        "--json",
    )
    assert made.json["only"] == ["lr", "checkpoint"] and made.json["max_per_1000_steps"] == 5
    listed = call("token", "list", "--json")
    assert [one["name"] for one in listed.json] == ["tuner"]
    assert made.json["secret"] not in listed.out + call("token", "list").out
    assert call("token", "revoke", "tuner").code == 0
    assert call("token", "list", "--json").json[0]["revoked_at"] is not None
    assert call("token", "revoke", "tuner").code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["a b", "--role", "viewer"],
        ["a", "--role", "king"],
        ["a", "--role", "agent", "--only", ","],
        ["a", "--role", "agent", "--max-per-1000-steps", "0"],
        ["taken", "--role", "viewer"],
    ],
)
def test_what_no_token_can_be_is_refused(call: Call, forked: Forked, arguments: list[str]) -> None:
    call("token", "create", "taken", "--role", "viewer")
    found = call("token", "create", *arguments)
    assert found.code == 2 and "Traceback" not in found.err
    assert len(call("token", "list", "--json").json) == 1
