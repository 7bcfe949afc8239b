"""Requests in a line, and none shown as waiting for a process that is gone."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Request
from branchtrack.db import requests
from branchtrack.db.engine import Database
from branchtrack.web.view import request_lines
from tests.trees_for_tests import Tree, make_tree


@pytest.fixture
def tree(sqlite_database: Database, store: Store) -> Tree:
    """A run that trains."""
    return make_tree(sqlite_database, store)


@pytest.fixture
def request_(tree: Tree) -> Request:
    """A request that waits."""
    return control.submit(tree.database, "demo", {"kind": "checkpoint"}, actor="me")


def refreshed(tree: Tree, rows: list[Request]) -> list[Request]:
    def reload() -> list[Request]:
        with tree.database.read() as connection:
            return requests.list_of_run(connection, tree.run.id)

    segment = tree.segment("main")
    every = {segment.id: segment}
    return list(request_lines.refresh_if_orphaned(tree.database, rows, every, time.time(), reload))


def test_while_every_process_lives_nothing_is_read_again(tree: Tree, request_: Request) -> None:
    stale = [replace(request_, reason="as it was read")]
    assert refreshed(tree, stale) == stale


def test_a_request_of_a_process_that_ended_is_shown_as_expired(
    tree: Tree, request_: Request
) -> None:
    tree.end("main", "failed")
    (row,) = refreshed(tree, [request_])
    assert (row.id, row.state) == (request_.id, "expired")


@pytest.mark.parametrize(
    ("kind", "payload", "line"),
    [
        ("set", {"values": {"lr": 1e-3}}, "set lr = 1e-3"),
        ("pause", {}, "pause"),
        ("resume", {"node": "abcdef0123"}, "resume abcdef01"),
        (
            "resume",
            {"node": "abcdef0123", "mode": "weights", "name": "b", "settings": {"lr": 1e-3}},
            "resume the weights of abcdef01 as b with lr = 1e-3",
        ),
        ("resume", {}, "resume"),
        (
            "resume",
            {"node": "abcdef0123", "trial": {"changes": ["lr=x0.5", "lr=x3"]}},
            "try lr=x0.5; lr=x3 from abcdef01",
        ),
    ],
)
def test_a_request_is_described_as_it_was_submitted(
    request_: Request, kind: str, payload: dict[str, Any], line: str
) -> None:
    row = replace(request_, kind=kind, payload=payload, requested={})
    assert request_lines.describe_request(row) == line


@pytest.mark.parametrize("kind", ["explode", "act"])
def test_a_request_that_is_not_understood_is_described_by_its_kind(
    request_: Request, kind: str
) -> None:
    row = replace(request_, kind=kind, payload={"x": "y"}, requested={})
    assert request_lines.describe_request(row) == kind
