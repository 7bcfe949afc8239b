"""What people send comes into a form that records can bear."""

from __future__ import annotations

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import text
from branchtrack.db import requests
from branchtrack.db.engine import Database
from branchtrack.errors import (
    InvalidInput,
)
from tests.trees_for_tests import make_tree


def test_a_very_long_payload_is_cut_in_the_record(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with pytest.raises(InvalidInput):
        control.submit(
            database, "demo", {"kind": "set", "values": {"lr": "9" * 150_000}}, actor="me"
        )
    with database.read() as connection:
        (recorded,) = requests.list_of_run(connection, tree.run.id)
    assert len(str(recorded.payload)) < 5000


def test_half_a_surrogate_pair_is_replaced_and_a_nul_character_refused() -> None:
    assert control.clean_text("reason", " ab\ud800 ") == "ab?"
    with pytest.raises(InvalidInput, match="without NUL") as caught:
        control.clean_text("reason", "a\x00b")
    assert caught.value.field == "reason"


def test_text_is_trimmed_and_refused_beyond_its_limit() -> None:
    assert text.clean_text("reason", " abc ", limit=3) == "abc"
    with pytest.raises(InvalidInput, match="at most 3 characters"):
        text.clean_text("reason", "abcd", limit=3)


def test_what_is_no_text_is_refused_naming_its_field() -> None:
    with pytest.raises(InvalidInput) as caught:
        text.clean_text("reason", 7)
    assert caught.value.field == "reason"


def test_a_user_without_a_name_is_an_actor_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("no such uid")

    monkeypatch.setattr("getpass.getuser", fail)
    assert text.local_actor() == "unknown user"


def test_a_payload_is_cut_only_where_it_is_too_long() -> None:
    assert text.shortened({"values": {"lr": 1}}, 100) == {"values": {"lr": 1}}
    assert text.shortened({"values": "x" * 200}, 100)["cut"].startswith('{"values": "xxx')
    assert len(text.shortened({"values": "x" * 200}, 100)["cut"]) == 100
