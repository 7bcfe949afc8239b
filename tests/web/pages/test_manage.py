"""One page names, tags, describes, archives and deletes a run or a branch."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from branchtrack import control
from branchtrack.control.organising import undoing
from branchtrack.db import runs
from branchtrack.db.deletion import trash
from tests.web import dom, seeds
from tests.web.conftest import Site

LABELS = {"name": "numbers", "tags": "good, final", "notes": "the baseline", "archived": "1"}


def path_of(answer: TestResponse) -> str:
    """Where an answer leads to, without the offer to undo."""
    return answer.headers["Location"].partition("?")[0]


@pytest.mark.parametrize("field", ["name", "tags", "notes"])
def test_a_nul_character_is_refused_by_its_field_and_nothing_is_changed(
    own: Site, field: str
) -> None:
    before = labels(own)
    page = own.post("/runs/digits/manage", 422, **{**LABELS, "name": "digits", field: "a\x00b"})
    assert "Nothing was changed." in page.one("main").text
    assert page.one(id=field)["aria-invalid"] == "true"
    assert labels(own) == before


def add_cooler(site: Site) -> None:
    """A branch that nothing trains."""
    line = site.lines["main"].grower.line("cooler", 100)
    line.commit("root", 0)
    line.end("failed")


def test_a_run_gets_other_labels(own: Site) -> None:
    answer = own.client.post("/runs/digits/manage", data=LABELS)
    assert answer.status_code == 303 and path_of(answer) == "/runs/numbers/manage"
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


def form_of(own: Site, path: str = "/runs/digits/manage") -> dict[str, str]:
    """What the form of a run or of a branch sends as it is."""
    fields = own.get(path).one("form", aria_label="Labels").all("input")
    return {field["name"]: field["value"] for field in fields if field.get("type") != "checkbox"}


def test_what_another_one_changed_meanwhile_stays(own: Site) -> None:
    first, second = form_of(own), form_of(own)
    own.client.post("/runs/digits/manage", data=first | {"tags": "good", "pinned": "1"})
    own.client.post("/runs/digits/manage", data=second | {"notes": "slow", "tags": "slow"})
    with own.database.read() as connection:
        run = runs.find_run(connection, "digits")
    assert (run.tags, run.notes) == (["good", "slow"], "slow") and run.pinned_at


def test_notes_that_another_one_wrote_meanwhile_are_said_before_they_are_replaced(
    own: Site,
) -> None:
    first, second = form_of(own), form_of(own)
    own.client.post("/runs/digits/manage", data=first | {"notes": "fast"})
    answer = own.client.post("/runs/digits/manage", data=second | {"notes": "slow"})
    page = dom.parse(answer.text)
    assert answer.status_code == 422 and "“fast”" in page.text
    assert page.one("textarea", name="notes").text == "slow"
    seen = {"was_notes": page.one("input", name="was_notes")["value"], "notes": "slow"}
    assert own.client.post("/runs/digits/manage", data=second | seen).status_code == 303


@pytest.mark.parametrize("ref", ["digits", "digits/cooler"])
def test_a_form_that_is_open_while_another_one_renames_is_saved_under_the_new_name(
    own: Site, ref: str
) -> None:
    add_cooler(own)
    address = "/runs/" + ref.replace("/", "/branches/")
    form = form_of(own, f"{address}/manage")
    own.client.post(f"{address}/manage", data=form | {"name": "cold"})
    saved = own.client.post(f"{address}/manage", data=form | {"notes": "slow", "tags": "a b"})
    path = address.rpartition("/")[0] + "/cold/manage"
    assert saved.status_code == 303 and path_of(saved) == path
    assert own.get(path).one("textarea", name="notes").text == "slow"
    # Of two names that were chosen at once the second says what the first was.
    answer = own.client.post(f"{address}/manage", data=form | {"name": "warm", "notes": "slow"})
    page = dom.parse(answer.text)
    assert answer.status_code == 422 and "The name has been changed" in page.text
    assert "“cold”" in page.text and page.one("input", name="name")["value"] == "warm"
    labelled = page.one("form", aria_label="Labels")
    assert labelled["action"] == path
    again = {one["name"]: one["value"] for one in labelled.all("input", type="hidden")}
    renamed = own.client.post(path, data=again | {"name": "warm", "notes": "slow"})
    assert path_of(renamed) == path.replace("cold", "warm")


def test_a_branch_that_took_over_a_name_is_not_deleted_by_a_form_of_another(own: Site) -> None:
    add_cooler(own)
    path = "/runs/digits/branches/cooler"
    form = own.get(f"{path}/manage").one("form", aria_label="Delete")
    own.client.post(f"{path}/manage", data={"name": "cold"})
    add_cooler(own)
    sent = {field["name"]: field["value"] for field in form.all("input", type="hidden")}
    assert own.client.post(f"{path}/delete", data=sent).status_code == 303
    with own.database.read() as connection:
        assert [entry.name for entry in trash.entries(connection)] == ["digits/cold"]
    answer = own.client.post(f"{path}/manage", data={"id": "digits", "name": "cooler"})
    assert answer.status_code == 404


def test_a_branch_gets_another_name(own: Site) -> None:
    add_cooler(own)
    data = {"name": "calm", "tags": "", "notes": ""}
    answer = own.client.post("/runs/digits/branches/cooler/manage", data=data)
    assert path_of(answer) == "/runs/digits/branches/calm/manage"
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
    assert answer.status_code == 303 and path_of(answer) == "/runs/digits/manage"
    with own.database.read() as connection:
        assert [entry.name for entry in trash.entries(connection)] == ["digits/cooler"]


def test_what_cannot_be_deleted_is_said_in_the_form(own: Site) -> None:
    assert "whole run" in own.get("/runs/digits/branches/main/manage").text
    answer = own.client.post("/runs/digits/delete", data={})
    assert answer.status_code == 422 and "is being trained" in answer.text


def undo(site: Site, answer: TestResponse) -> TestResponse:
    """Take back what was done, by the button on the page that an answer leads to."""
    page = site.get(answer.headers["Location"])
    button = page.one("form", action="/undo")
    fields = {field["name"]: field["value"] for field in button.all("input")}
    return site.client.post("/undo", data=fields)


def labels(site: Site) -> tuple[object, ...]:
    with site.database.read() as connection:
        run = runs.find_run(connection, "digits")
    return run.tags, run.notes, run.archived_at is not None, run.pinned_at is not None


def test_a_change_is_undone_with_one_click(own: Site) -> None:
    before = labels(own)
    data = {**LABELS, "pinned": "1"}
    answer = undo(own, own.client.post("/runs/digits/manage", data=data))
    assert answer.status_code == 303 and labels(own) == before
    nothing = own.client.post("/runs/digits/manage", data={"name": "digits"})
    assert "undo" not in nothing.headers["Location"]


@pytest.mark.parametrize("path", ["/runs/digits/manage", "/runs/digits/branches/cooler/manage"])
def test_undoing_a_rename_leads_to_the_page_under_the_earlier_name(own: Site, path: str) -> None:
    add_cooler(own)
    renamed = own.client.post(path, data={"name": "calm"})
    assert "calm" in path_of(renamed)
    answer = undo(own, renamed)
    assert answer.headers["Location"] == path
    name = path.split("/")[-2]
    assert own.get(path).one("input", name="name")["value"] == name


def test_a_deletion_is_undone(own: Site) -> None:
    add_cooler(own)
    path = "/runs/digits/branches/cooler"
    answer = undo(own, own.client.post(f"{path}/delete", data={}))
    assert answer.headers["Location"] == f"{path}/manage"
    with own.database.read() as connection:
        assert trash.entries(connection) == []


def test_what_was_changed_again_is_not_undone(own: Site) -> None:
    answer = own.client.post("/runs/digits/manage", data={"name": "digits", "tags": "good"})
    own.client.post("/runs/digits/manage", data={"name": "digits", "tags": "better"})
    refused = undo(own, answer)
    assert refused.status_code == 422 and "changed again" in refused.text
    assert labels(own)[0] == ["better"]


@pytest.mark.parametrize("change", ["x", "<b>", "0-0", "5-1", "9-9", "1-1", "1-99999999"])
def test_only_a_change_of_the_readers_own_is_offered_to_be_undone(own: Site, change: str) -> None:
    control.label(own.database, "digits", actor="somebody else", pinned=True)
    with own.database.read() as connection:
        others = undoing.newest(connection)
    for address in ("/runs", "/runs/digits/manage", "/runs/digits/branches/main/manage"):
        for text in (change, f"{others}-{others}"):
            page = own.get(f"{address}?{urlencode({'undo': text})}")
            assert not page.all("form", action="/undo")


def test_the_page_of_a_run_offers_no_change_of_another(own: Site) -> None:
    seeds.Grower(own.database, own.store, "other")
    answer = own.client.post("/runs/digits/manage", data={"name": "digits", "tags": "good"})
    query = answer.headers["Location"].partition("?")[2]
    assert own.get(f"/runs/digits/manage?{query}").all("form", action="/undo")
    assert own.get(f"/runs?{query}").all("form", action="/undo")
    assert not own.get(f"/runs/other/manage?{query}").all("form", action="/undo")


def organise(site: Site, deed: str, *names: str, **fields: str) -> TestResponse:
    with site.database.read() as connection:
        ids = [runs.find_run(connection, name).id for name in names]
    data = {"run": ids, "deed": deed, "next": "/runs?q=a&page=2", **fields}
    return site.client.post("/runs/organise", data=data)


def test_several_runs_are_tagged_pinned_and_archived_at_once(own: Site) -> None:
    seeds.Grower(own.database, own.store, "other")
    answer = organise(own, "tag", "digits", "other", tags="good, best")
    assert answer.headers["Location"].startswith("/runs?q=a&page=2&undo=")
    organise(own, "untag", "digits", tags="good none")
    organise(own, "pin", "digits")
    archived = organise(own, "archive", "digits")
    assert labels(own) == (["best"], "", True, True)
    assert undo(own, archived).headers["Location"].startswith("/")
    organise(own, "unpin", "digits", "other")
    assert labels(own) == (["best"], "", False, False)


@pytest.mark.parametrize(
    "fields", [{"deed": "tag"}, {"deed": "burn", "run": "x"}, {"deed": "tag", "run": "x"}]
)
def test_what_is_to_be_done_to_runs_has_to_be_said(own: Site, fields: dict[str, str]) -> None:
    assert own.client.post("/runs/organise", data=fields).status_code == 422


@pytest.mark.parametrize("path", ["/runs/organise", "/runs/delete"])
def test_more_runs_than_can_be_changed_at_once_are_refused(own: Site, path: str) -> None:
    chosen = ["digits", *(f"run-{number}" for number in range(500))]
    answer = own.client.post(path, data={"run": chosen, "deed": "tag", "tags": "many"})
    assert answer.status_code == 422
    assert "501 runs are chosen" in answer.text and "at most 500" in answer.text
    assert labels(own)[0] == []
    with own.database.read() as connection:
        assert trash.entries(connection) == []


def test_nothing_is_done_to_any_run_if_one_does_not_exist(own: Site) -> None:
    line = seeds.Grower(own.database, own.store, "other").line("main")
    line.end("failed")
    data = {"deed": "tag", "tags": "part", "run": ["digits", "other", "nope"]}
    assert own.client.post("/runs/organise", data=data).status_code == 404
    assert labels(own)[0] == []
    answer = own.client.post("/runs/delete", data={"run": ["other", "nope"]})
    assert answer.status_code == 404
    with own.database.read() as connection:
        assert trash.entries(connection) == []


def test_what_a_deletion_takes_along_is_shown_before(own: Site) -> None:
    for name in ("a", "b"):
        line = seeds.Grower(own.database, own.store, name).line("main")
        line.commit("root", 0)
        line.end("finished")
    answer = organise(own, "delete", "a", "b")
    page = own.get(answer.headers["Location"])
    assert [row["nodes"] for row in page.table("To be deleted")] == ["1", "1"]
    ids = [field["value"] for field in page.all("input", name="run")]
    done = own.client.post("/runs/delete", data={"run": ids, "reason": "old"})
    assert done.status_code == 303
    with own.database.read() as connection:
        assert {entry.name for entry in trash.entries(connection)} == {"a", "b"}
    undo(own, done)
    with own.database.read() as connection:
        assert trash.entries(connection) == []


def test_a_run_that_trains_is_not_deleted_with_others(own: Site) -> None:
    answer = organise(own, "delete", "digits")
    ids = [field["value"] for field in own.get(answer.headers["Location"]).all("input", name="run")]
    refused = own.client.post("/runs/delete", data={"run": ids})
    assert refused.status_code == 422 and "is being trained" in refused.text
    assert "no such run" in own.get("/runs/delete").text
