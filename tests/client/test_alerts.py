"""Alerts, read and marked by a client."""

from __future__ import annotations

from branchtrack.client.client import Client
from tests.web.conftest import Site
from tests.web.pages.test_alerts import raised


def test_alerts_are_read_from_a_cursor_and_marked(own: Site, client: Client) -> None:
    alert = raised(own, key="1", text="first", level="error")
    page = client.alerts("digits")
    assert [each.text for each in page.alerts] == ["first"]
    assert client.alerts(since=page.cursor).alerts == []
    assert client.see_alert(alert.id).seen_by
