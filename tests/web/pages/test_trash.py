"""The trash lists what was deleted; buttons bring it back or remove it for good."""

from __future__ import annotations

import pytest

from branchtrack import control
from branchtrack.db import runs
from branchtrack.db.deletion import trash
from tests.web.conftest import Site


def add_cooler(site: Site) -> None:
    """A branch that nothing trains."""
    line = site.lines["main"].grower.line("cooler", 100)
    line.commit("root", 0)
    line.end("failed")


def test_what_was_deleted_is_listed_and_restored(own: Site) -> None:
    assert "The trash is empty." in own.get("/trash").text
    add_cooler(own)
    control.delete(own.database, "digits/cooler", actor="ann", reason="worse")
    page = own.get("/trash")
    assert "digits/cooler" in page.text and "worse" in page.text and "ann" in page.text
    with own.database.read() as connection:
        (entry,) = trash.entries(connection)
    assert own.client.get("/runs/digits").status_code == 200
    answer = own.client.post(f"/trash/{entry.id}/restore")
    assert answer.status_code == 303 and answer.headers["Location"] == "/runs/digits"
    with own.database.read() as connection:
        assert runs.find_branch(connection, "digits/cooler")
    assert own.client.post(f"/trash/{entry.id}/restore").status_code == 404


def test_what_is_purged_is_gone(own: Site) -> None:
    add_cooler(own)
    control.delete(own.database, "digits/cooler", actor="ann")
    with own.database.read() as connection:
        (entry,) = trash.entries(connection)
    assert own.client.post(f"/trash/{entry.id}/purge").status_code == 303
    assert "The trash is empty." in own.get("/trash").text
    with own.database.read() as connection:
        run = runs.find_run(connection, "digits")
        assert "cooler" not in runs.branch_names(connection, run.id)


def test_entries_come_in_pages_the_latest_deleted_first(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("branchtrack.web.pages.trash._ENTRIES", 2)
    for number in range(3):
        line = own.lines["main"].grower.line(f"gone-{number}", 100)
        line.commit("root", 0)
        line.end("failed")
        control.delete(own.database, f"digits/gone-{number}", actor="ann")
    page = own.get("/trash")
    assert "1–2 of 3, the latest deleted first" in page.text
    assert [row["deleted"] for row in page.table("Deleted")] == ["digits/gone-2", "digits/gone-1"]
    rest = own.get("/trash?page=9")
    assert [row["deleted"] for row in rest.table("Deleted")] == ["digits/gone-0"]
