"""The head of every page counts what nobody has seen, with one query for many pages."""

from __future__ import annotations

import pytest

from branchtrack.web.view import unseen_alerts
from tests.db.watching.rows import add_alert
from tests.web.conftest import Site


def shown(site: Site) -> str:
    (link,) = [link for link in site.get("/help").all("a") if link.get("href") == "/alerts"]
    return link.text


def test_new_warnings_are_counted_and_remarks_are_not(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unseen_alerts, "SECONDS", 0.0)
    assert shown(own) == "Alerts"
    with own.database.transaction() as connection:
        add_alert(connection, own.lines["main"].branch, level="error")
        add_alert(connection, own.lines["main"].branch, level="info")
    assert shown(own) == "Alerts 1 not seen"


def test_a_count_holds_for_some_seconds_unless_something_was_seen(own: Site) -> None:
    assert shown(own) == "Alerts"
    with own.database.transaction() as connection:
        alert = add_alert(connection, own.lines["main"].branch, level="warn")
    assert shown(own) == "Alerts"
    with own.app.app_context():
        unseen_alerts.forget()
    assert shown(own) == "Alerts 1 not seen"
    own.client.post(f"/alerts/{alert.id}/seen")
    assert shown(own) == "Alerts"
