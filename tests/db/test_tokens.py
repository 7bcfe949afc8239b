"""A token is stored as a digest alone, and gives access until it is revoked."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.db import tables, tokens
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput, NameTaken, NotFound


def test_a_token_is_stored_as_a_digest_and_ends_when_it_is_revoked(database: Database) -> None:
    with database.transaction() as connection:
        token, secret = tokens.create(connection, "ann", "operator", created_by="me")
        row = connection.execute(tables.tokens.select()).one()
        assert secret not in str(row) and token.role == "operator"
        assert tokens.find_secret(connection, secret) == token
        assert tokens.find_secret(connection, secret[:-1]) is None
        tokens.revoke(connection, "ann")
        assert tokens.find_secret(connection, secret) is None
        with pytest.raises(NotFound):
            tokens.revoke(connection, "ann")


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"role": "root"}, "role"),
        ({"limit": 0}, "max_per_1000_steps"),
        ({"limit": 10**9 + 1}, "max_per_1000_steps"),
        ({"only": []}, "only"),
        ({"only": [" ", ""]}, "only"),
    ],
)
def test_a_token_that_would_be_good_for_nothing_is_refused(
    sqlite_database: Database, facts: dict[str, Any], field: str
) -> None:
    arguments = {"name": "ann", "role": "agent", "created_by": "me", **facts}
    with sqlite_database.transaction() as connection:
        with pytest.raises(InvalidInput) as caught:
            tokens.create(connection, **arguments)
        assert tokens.list_all(connection) == []
    assert caught.value.field == field


def test_the_name_of_a_token_is_used_once(sqlite_database: Database) -> None:
    with sqlite_database.transaction() as connection:
        tokens.create(connection, "ann", "viewer", created_by="me")
        with pytest.raises(NameTaken, match="ann-2"):
            tokens.create(connection, "ann", "admin", created_by="me")


def test_patterns_are_trimmed_and_come_back(sqlite_database: Database) -> None:
    with sqlite_database.transaction() as connection:
        tokens.create(connection, "bot", "agent", created_by="me", only=[" lr ", "", "aug_*"])
        (token,) = tokens.list_all(connection)
    assert token.only == ("lr", "aug_*")


def test_a_use_is_recorded_once_a_minute(sqlite_database: Database) -> None:
    with sqlite_database.transaction() as connection:
        token, _secret = tokens.create(connection, "ann", "viewer", created_by="me")
        assert tokens.is_stale(token, token.created_at)
        tokens.touch(connection, token.id)
        (used,) = tokens.list_all(connection)
    assert used.used_at is not None
    assert not tokens.is_stale(used, used.used_at + 60)
    assert tokens.is_stale(used, used.used_at + 61)


def test_a_revoked_token_is_in_force_no_more(sqlite_database: Database) -> None:
    with sqlite_database.transaction() as connection:
        token, _secret = tokens.create(connection, "ann", "viewer", created_by="me")
        assert tokens.in_force(connection, token.id) == token
        assert tokens.revoke(connection, "ann").revoked_at is not None
        assert tokens.in_force(connection, token.id) is None
