"""A text is stored once, and read back as it was."""

from __future__ import annotations

import pytest

from branchtrack.db import integrity
from branchtrack.db.engine import Database
from branchtrack.db.storage import texts
from branchtrack.errors import NotFound


@pytest.mark.parametrize("text", ["", "diff --git a/ü b/ü\n" * 1000, "\udcff is no UTF-8"])
def test_a_text_is_stored_once_and_read_back(database: Database, text: str) -> None:
    with database.transaction() as connection:
        digest = texts.put(connection, text)
        assert texts.put(connection, text) == digest == texts.digest_of(text)
    with database.read() as connection:
        assert texts.get(connection, digest) == text
        assert integrity.of_database(connection) == []


def test_an_unknown_text_is_not_found(database: Database) -> None:
    with database.read() as connection, pytest.raises(NotFound):
        texts.get(connection, "0" * 64)


def test_a_text_is_found_by_the_beginning_of_its_digest(database: Database) -> None:
    with database.transaction() as connection:
        digest = texts.put(connection, "x")
        texts.put(connection, "y")
    with database.read() as connection:
        beginnings = [digest[: texts.BEGINNING], "0" * 16, "%" * 16]
        assert texts.starting(connection, beginnings) == {beginnings[0]: "x"}
        assert texts.starting(connection, []) == {}
