"""Alerts by the API: after a cursor, of a run or all, and marked as seen."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import Site
from tests.web.pages.test_alerts import raised


def get(site: Site, query: str = "", status: int = 200) -> Any:
    answer = site.client.get(f"/api/v1/alerts{query}")
    assert answer.status_code == status, answer.json
    return answer.json


def test_alerts_come_after_a_cursor_oldest_first(own: Site) -> None:
    assert get(own) == {"alerts": [], "cursor": 0, "more": False}
    raised(own, key="1", text="first", level="error")
    page = get(own, "?run=digits")
    (alert,) = page["alerts"]
    assert alert["text"] == "first" and (alert["run"], alert["branch"]) == ("digits", "main")
    assert alert["proposal"]["command"].endswith("--set lr=x0.5 --name calm")
    raised(own, key="2", text="second", level="info")
    later = get(own, f"?since={page['cursor']}&run=digits/main")
    assert [each["text"] for each in later["alerts"]] == ["second"]
    assert get(own, f"?since={later['cursor']}") == {
        "alerts": [],
        "cursor": later["cursor"],
        "more": False,
    }
    assert [each["text"] for each in get(own, "?level=warn")["alerts"]] == ["first"]
    assert get(own, "?since=0&limit=1")["more"] is True


def test_what_is_no_cursor_level_or_run_is_refused_by_name(own: Site) -> None:
    assert get(own, "?since=x", 422)["error"]["field"] == "since"
    assert get(own, "?level=loud", 422)["error"]["field"] == "level"
    assert get(own, "?limit=99999", 422)["error"]["field"] == "limit"
    get(own, "?run=nobody", 404)


def test_an_alert_is_marked_as_seen(own: Site) -> None:
    alert = raised(own)
    answer = own.client.post(f"/api/v1/alerts/{alert.id}/seen", json={})
    assert answer.status_code == 200 and answer.json is not None
    assert answer.json["seen_by"] and answer.json["seen_at"]


def test_what_a_run_is_watched_for_is_shown_and_changed(own: Site) -> None:
    address = "/api/v1/runs/digits/watch"
    before = own.client.get(address).get_json()
    assert before["run"] == "digits" and before["rules"]["targets"] == []
    changed = own.client.patch(address, json={"rules": {"targets": ["eval_loss<2.5"]}}).get_json()
    assert changed["rules"]["targets"] == ["eval_loss<2.5"]
    assert own.client.get(address).get_json() == changed
    refused = own.client.patch(address, json={"rules": {"spike": -1}})
    assert refused.status_code == 422 and "spike" in refused.get_json()["error"]["field"]
    again = own.client.patch(address, json={"reset": True}).get_json()
    assert again["rules"] == before["rules"]
