"""Labels by the API, and refusals that change nothing."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import Site


def patch(own: Site, path: str, status: int, **body: Any) -> Any:
    answer = own.client.patch(f"/api/v1{path}", json=body)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_json()


def test_a_run_a_branch_and_a_node_are_labelled(own: Site) -> None:
    run = patch(own, "/runs/digits", 200, add_tags=["good"], notes="x", archived=True)
    assert (run["tags"], run["notes"], run["archived"]) == (["good"], "x", True)
    assert own.client.get("/").get_data(as_text=True).count("/runs/digits") == 0
    assert own.client.get("/?q=digits").get_data(as_text=True).count("/runs/digits") > 0
    assert patch(own, "/runs/digits/branches/main", 200, name="trunk")["name"] == "trunk"
    assert patch(own, f"/nodes/{own.node('main')}", 200, add_tags=["best"])["tags"] == ["best"]


def test_what_is_no_label_is_refused(own: Site) -> None:
    for bad in ({"name": 5}, {"archived": "yes"}, {"add_tags": "x"}, {"add_tags": [5]}, {"x": 1}):
        patch(own, "/runs/digits", 422, **bad)
    assert patch(own, "/runs/digits", 200)["tags"] == []
