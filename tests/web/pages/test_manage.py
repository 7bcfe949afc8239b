"""One page names, tags, describes, archives and deletes a run or a branch."""

from __future__ import annotations

import pytest

from branchtrack.db import runs
from branchtrack.db.deletion import trash
from tests.web.conftest import Site

LABELS = {"name": "numbers", "tags": "good, final", "notes": "the baseline", "archived": "1"}


def add_cooler(site: Site) -> None:
    """A branch that nothing trains."""
    line = site.lines["main"].grower.line("cooler", 100)
    line.commit("root", 0)
    line.end("failed")


def test_a_run_gets_other_labels(own: Site) -> None:
    answer = own.client.post("/runs/digits/manage", data=LABELS)
    assert answer.status_code == 303 and answer.headers["Location"] == "/runs/numbers/manage"
    with own.database.read() as connection:
        run = runs.find_run(connection, "numbers")
    assert (run.tags, run.notes) == (["good", "final"], "the baseline") and run.archived_at
    page = own.get("/runs/numbers/manage")
    assert page.one("input", name="tags")["value"] == "good final"
    assert "checked" in page.one("input", name="archived").attributes
    own.client.post("/runs/numbers/manage", data={"name": "numbers", "tags": "final"})
    with own.database.read() as connection:
        run = runs.find_run(connection, "numbers")
    assert (run.tags, run.notes, run.archived_at) == (["final"], "", None)


def test_a_branch_gets_another_name(own: Site) -> None:
    add_cooler(own)
    data = {"name": "calm", "tags": "", "notes": ""}
    answer = own.client.post("/runs/digits/branches/cooler/manage", data=data)
    assert answer.headers["Location"] == "/runs/digits/branches/calm/manage"
    assert "calm" in own.get("/runs/digits/manage").text


@pytest.mark.parametrize(
    "data", [{"name": "a b"}, {"name": ""}, {"name": "digits", "tags": "x" * 100}, {"other": "1"}]
)
def test_bad_labels_are_said_in_the_form_and_change_nothing(
    own: Site, data: dict[str, str]
) -> None:
    answer = own.client.post("/runs/digits/manage", data=data)
    assert answer.status_code == 422 and "Nothing was changed" in answer.text
    with own.database.read() as connection:
        assert runs.find_run(connection, "digits").tags == []


def test_a_branch_is_deleted(own: Site) -> None:
    add_cooler(own)
    page = own.get("/runs/digits/branches/cooler/manage")
    assert page.one("form", action="/runs/digits/branches/cooler/delete") is not None
    answer = own.client.post("/runs/digits/branches/cooler/delete", data={"reason": "worse"})
    assert answer.status_code == 303 and answer.headers["Location"] == "/runs/digits"
    with own.database.read() as connection:
        assert [entry.name for entry in trash.entries(connection)] == ["digits/cooler"]


def test_what_cannot_be_deleted_is_said_in_the_form(own: Site) -> None:
    assert "whole run" in own.get("/runs/digits/branches/main/manage").text
    answer = own.client.post("/runs/digits/delete", data={})
    assert answer.status_code == 422 and "is being trained" in answer.text
