"""Saved views are found by name, and say what they ask for."""

from __future__ import annotations

import pytest

from branchtrack.db.browsing import saved_views
from branchtrack.db.engine import Database
from branchtrack.errors import NotFound


def test_a_view_is_saved_replaced_and_removed(database: Database) -> None:
    with database.transaction() as connection:
        saved_views.save(connection, "low lr", "q=lr%3C1", "ann")
        saved_views.save(connection, "all", "", "ann")
        saved_views.save(connection, "low lr", "q=lr%3C2&sort=lr", "bob")
        assert [view.name for view in saved_views.every(connection)] == ["all", "low lr"]
        view = saved_views.find(connection, "low lr")
        assert (view.address, view.actor) == ("q=lr%3C2&sort=lr", "bob")
        saved_views.remove(connection, "low lr")
        with pytest.raises(NotFound) as error:
            saved_views.find(connection, "al")
        assert "all" in str(error.value)


def test_an_address_is_cut_into_what_it_asks_for() -> None:
    assert saved_views.parts("q=lr%3C1+gpt&sort=-lr&columns=&by=tag&page=3") == {
        "query": "lr<1 gpt",
        "sort": "-lr",
        "by": "tag",
    }
