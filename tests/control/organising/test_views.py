"""Who may save a view, and what is kept of it."""

from __future__ import annotations

import pytest

from branchtrack.control.organising import views
from branchtrack.core.actors import Actor
from branchtrack.db.browsing import saved_views
from branchtrack.db.engine import Database
from branchtrack.errors import Forbidden, InvalidInput, NotFound


def test_a_view_keeps_what_a_list_shows_and_no_page(sqlite_database: Database) -> None:
    choices = {"q": " lr<1 ", "sort": "", "columns": "lr", "page": "3", "x": "y"}
    assert views.save(sqlite_database, "  low   lr ", choices, actor="ann") == "low lr"
    with sqlite_database.read() as connection:
        assert saved_views.find(connection, "low lr").address == "q=lr%3C1&columns=lr"
    views.remove(sqlite_database, "low lr", actor="ann")
    with pytest.raises(NotFound):
        views.remove(sqlite_database, "low lr", actor="ann")


@pytest.mark.parametrize(
    ("name", "choices", "field"),
    [
        (" ", {}, "name"),
        ("x" * 81, {}, "name"),
        ("bad", {"q": "lr<"}, "query"),
        ("bad", {"sort": "a b"}, "sort"),
    ],
)
def test_a_view_that_could_not_be_shown_is_refused(
    sqlite_database: Database, name: str, choices: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        views.save(sqlite_database, name, choices, actor="ann")
    assert error.value.field == field


def test_a_viewer_saves_none(sqlite_database: Database) -> None:
    with pytest.raises(Forbidden):
        views.save(sqlite_database, "mine", {}, actor=Actor("ann", "viewer"))
