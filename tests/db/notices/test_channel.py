"""A notice is sent with its transaction, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import config
from branchtrack.db.engine import Database
from branchtrack.db.notices.channel import tell
from tests.db.notices.ears import heard, listening


def database(url: str) -> Database:
    return Database(config.load(Path("unused"), url).database_url)


def test_a_notice_is_heard_once_its_transaction_is_committed(postgres: str) -> None:
    own = database(postgres)
    with listening(own, "some", "other") as (some, other):
        with pytest.raises(RuntimeError), own.transaction() as connection:
            tell(connection, "some")
            raise RuntimeError
        with own.transaction() as connection:
            tell(connection, "other")
        # In the order in which they were sent: the first would have been heard by now.
        assert heard(other) and not some.noticed.is_set()
    own.close()


def test_schemas_of_one_database_do_not_hear_each_other(postgres: str) -> None:
    own = database(postgres)
    with own.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other")
    elsewhere = database(f"{postgres}&options=-csearch_path%3Dother")
    with listening(own, "some", "last") as (some, last):
        for sender, key in ((elsewhere, "some"), (own, "last")):
            with sender.engine.begin() as connection:
                tell(connection, key)
        assert heard(last) and not some.noticed.is_set()
    own.close()
    elsewhere.close()


def test_sqlite_sends_none(sqlite_database: Database) -> None:
    with sqlite_database.transaction() as connection:
        tell(connection, "some")
    subscription = sqlite_database.subscribe("some")
    assert not subscription.is_live and not subscription.rest(0.0)
    subscription.wake()
    assert subscription.rest(60.0)
    subscription.release()
