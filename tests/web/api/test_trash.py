"""Deleting by the API: into the trash, out of it, for good."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import Site

BRANCH = "/runs/digits/branches/cooler"


def call(own: Site, method: str, path: str, status: int = 200) -> Any:
    answer = own.client.open(f"/api/v1{path}", method=method)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_json()


def add_cooler(own: Site) -> None:
    line = own.lines["main"].grower.line("cooler", 100)
    line.commit("root", 0)
    line.end("failed")


def test_a_branch_is_deleted_restored_and_purged(own: Site) -> None:
    add_cooler(own)
    gone = call(own, "DELETE", f"{BRANCH}?reason=worse")
    assert gone == {"name": "digits/cooler", "branches": ["cooler"], "nodes": 1}
    (entry,) = call(own, "GET", "/trash")["entries"]
    assert entry["name"] == "digits/cooler" and entry["reason"] == "worse"
    assert entry["kind"] == "branch" and entry["purged_at"] > entry["deleted_at"]
    assert call(own, "POST", f"/trash/{entry['id']}/restore") == gone
    call(own, "DELETE", f"{BRANCH}?with_children=true")
    assert call(own, "DELETE", f"/trash/{entry['id']}")["id"] == entry["id"]
    assert call(own, "GET", "/trash")["total"] == 0
    call(own, "DELETE", f"/trash/{entry['id']}", 404)


def test_what_trains_is_not_deleted(own: Site) -> None:
    assert call(own, "DELETE", "/runs/digits", 422)["error"]["field"] == "ref"
    call(own, "DELETE", "/runs/other", 404)
    answer = call(own, "DELETE", f"{BRANCH}?with_children=perhaps", 422)
    assert answer["error"]["field"] == "with_children"
    own.lines["main"].end("finished")
    assert call(own, "DELETE", "/runs/digits")["nodes"] == 2
    assert call(own, "GET", "/runs")["runs"] == []
