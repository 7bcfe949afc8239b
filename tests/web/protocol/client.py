"""A client that speaks as that of Interactive Training 2 does: three calls, nothing else."""

from __future__ import annotations

from typing import Any

from tests.web.conftest import Site


class ProtocolClient:
    """``submit``, ``events`` and ``state`` below a base path; ``since`` as its agents keep it."""

    def __init__(self, site: Site, base: str = "/it/digits/main") -> None:
        self.site, self.base, self.since = site, base, 0

    def submit(self, action: str, **payload: Any) -> dict[str, Any]:
        """The answer to an action."""
        body = {"type": action, "payload": payload}
        return self._read(self.site.client.post(f"{self.base}/actions", json=body))

    def state(self) -> dict[str, Any]:
        """The whole state."""
        return self._read(self.site.client.get(f"{self.base}/state"))

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """All events from a number on."""
        answer = self._read(self.site.client.get(f"{self.base}/events?since={since}"))
        events: list[dict[str, Any]] = answer["events"]
        return events

    def news(self) -> list[dict[str, Any]]:
        """The events since the last call."""
        events = self.events(self.since)
        if events:
            self.since = events[-1]["seq"] + 1
        return events

    def _read(self, answer: Any) -> dict[str, Any]:
        assert answer.status_code == 200, answer.get_data(as_text=True)
        body: dict[str, Any] = answer.get_json()
        return body
