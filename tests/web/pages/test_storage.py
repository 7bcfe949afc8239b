"""Sizes are shown per run and branch; a form keeps a policy and sweeps; nodes are pinned."""

from __future__ import annotations

import pytest

from branchtrack import control
from branchtrack.db import nodes, runs
from tests.web import seeds
from tests.web.conftest import Site


def retention(site: Site) -> dict[str, object] | None:
    with site.database.read() as connection:
        return runs.find_run(connection, "digits").retention


def test_the_page_lists_branches_and_a_form_for_each_policy(own: Site) -> None:
    page = own.get("/storage")
    assert "all branches" in page.text and "free on the disk" in page.text
    form = page.one("form", action="/runs/digits/gc")
    assert form.one("select", name="keep") is not None


def test_a_sweep_keeps_its_policy(own: Site) -> None:
    data = {"keep": "thin", "every": "20", "last": "", "best_metric": "loss:max", "best_count": "2"}
    answer = own.client.post("/runs/digits/gc", data=data)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/storage?run=digits#run-digits"
    best = {"metric": "loss", "count": 2, "mode": "max"}
    assert retention(own) == {"keep": "thin", "best": best, "every": 20}
    assert 'value="loss:max"' in own.client.get("/storage").text


def test_bad_input_is_said_in_the_form_and_changes_nothing(own: Site) -> None:
    answer = own.client.post("/runs/digits/gc", data={"keep": "thin", "every": "often"})
    assert answer.status_code == 422 and 'value="often"' in answer.text
    assert own.client.post("/runs/digits/gc", data={"other": "1"}).status_code == 422
    assert retention(own) is None


def test_a_node_is_pinned_and_unpinned(own: Site) -> None:
    node_id = own.node("main")
    for value, is_pinned in (("yes", True), ("no", False)):
        button = own.get(f"/nodes/{node_id}").one("form", action=f"/nodes/{node_id}/pin")
        assert button is not None
        answer = own.client.post(f"/nodes/{node_id}/pin", data={"pinned": value})
        assert answer.status_code == 303
        with own.database.read() as connection:
            assert (nodes.find(connection, node_id).pinned_at is not None) is is_pinned
    assert own.client.post(f"/nodes/{node_id}/pin", data={"pinned": "x"}).status_code == 422


def test_what_is_in_the_trash_says_so_and_has_no_policy(own: Site) -> None:
    line = own.lines["main"].grower.line("cooler", 100)
    line.commit("root", 0)
    line.end("failed")
    control.delete(own.database, "digits/cooler", actor="ann")
    assert "in the trash" in own.get("/storage").text
    own.lines["main"].end("finished")
    control.delete(own.database, "digits", actor="ann")
    page = own.get("/storage")
    assert "digits, in the trash" in page.text and not page.all("form", action="/runs/digits/gc")


def test_what_uses_the_disk_is_a_picture_with_what_a_sweep_would_free(own: Site) -> None:
    (row,) = own.get("/storage").table("What uses the disk")
    assert row["run"] == "digits" and row["a sweep would free"] == "no policy"
    own.client.post("/runs/digits/gc", data={"keep": "thin", "every": "1"})
    page = own.get("/storage")
    bar = page.one("svg", class_="usage")
    assert "a sweep would free" in bar["aria-label"]
    assert [rect["width"] for rect in bar.all("rect")] == ["100.00%", "0.00%"]
    assert page.table("What uses the disk")[0]["a sweep would free"] == "0 B"


def test_a_sweep_is_previewed_without_being_made(own: Site) -> None:
    form = own.get("/storage").one("form", action="/runs/digits/gc")
    (button,) = form.all("button", name="preview")
    assert (button["formmethod"], button["value"]) == ("get", "digits")
    page = own.get("/storage?preview=digits&keep=thin&every=1000")
    assert "Sweeping digits now would free" in page.one(role="status", class_="banner").text
    assert page.one("input", name="every")["value"] == "1000"
    own.get("/storage?preview=digits&keep=thin&every=often", 422)
    own.get("/storage?preview=nope&keep=thin", 404)
    assert retention(own) is None


def test_runs_come_in_pages_those_that_store_most_first(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("branchtrack.web.pages.storage._RUNS", 2)
    for number in range(3):
        line = seeds.Grower(own.database, own.store, f"more-{number}").line("main", 100)
        line.commit("root", 0)
    page = own.get("/storage")
    rows = page.table("What uses the disk")
    assert [row["run"] for row in rows] == ["digits", "more-0"]
    assert "1–2 of 4 runs" in page.text and page.all("form", action="/runs/more-2/gc") == []
    rest = own.get("/storage?page=2")
    assert [row["run"] for row in rest.table("What uses the disk")] == ["more-1", "more-2"]
    assert "3–4 of 4 runs" in own.get("/storage?page=9").text
    assert own.get("/storage?run=more-2").one("form", action="/runs/more-2/gc")
    own.get("/storage?run=nope", 404)


def test_of_very_many_branches_those_that_store_most_are_listed(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("branchtrack.web.pages.storage._BRANCHES", 1)
    line = own.lines["main"].grower.line("small", 100)
    line.commit("root", 0)
    page = own.get("/storage")
    assert [row["branch"] for row in page.table("Sizes of digits")] == ["main", "all branches"]
    assert "1 more" in page.text
