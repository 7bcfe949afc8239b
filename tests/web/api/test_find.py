"""The search over nodes by the API."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import Site


def get(site: Site, address: str, status: int = 200) -> Any:
    answer = site.client.get(f"/api/v1/find{address}")
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_json()


def test_nodes_are_found_with_run_settings_and_metrics(own: Site) -> None:
    (node,) = get(own, "?q=metric.loss<1")["nodes"]
    assert node["run"] == "digits" and node["step"] == 40 and node["status"] == "running"
    assert node["metrics"]["loss"] == 0.5 and "lr" in node["settings"]


def test_pages_follow_one_another(own: Site) -> None:
    first = get(own, "?limit=1")
    assert [node["step"] for node in first["nodes"]] == [40]
    last = get(own, f"?limit=1&after={first['next']}")
    assert [node["step"] for node in last["nodes"]] == [0] and last["next"] is None


def test_what_cannot_be_read_is_refused(own: Site) -> None:
    error = get(own, "?q=lr>", 422)["error"]
    assert error["field"] == "query" and error["facts"]["position"] == 3
    assert get(own, "?limit=1001", 422)["error"]["field"] == "limit"
