"""Requests to the processes that train, through the API."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from branchtrack.client.calls import Calls, Values, path_of
from branchtrack.client.connection import mapping, seconds
from branchtrack.errors import NotAnswered
from branchtrack.schemas.replays import Interventions, Replay
from branchtrack.schemas.requests import Preview, Request, RequestPage


class Steering(Calls):
    """Methods that ask a live training for a change, and follow the request."""

    def set(self, branch: str, values: Values, **more: Any) -> Request:
        """Ask for new values of settings; ``more`` as in `request`."""
        return self.request(branch, "set", values=mapping("values", values), **more)

    def request(
        self, branch: str, kind: str, *, wait: float = 0.0, key: str | None = None, **fields: Any
    ) -> Request:
        """Ask the process that trains a branch for an intervention.

        ``fields`` are those of its kind, and ``reason``, ``only_if``, ``not_after_step``,
        ``expires_in``, ``at_step``, ``once``. With ``wait`` it returns once the request has
        ended, or as `wait` does.

        Raises:
            NotLive: nothing trains the branch. NotAnswered: it did not end within ``wait`` seconds.
        """
        wait = seconds("wait", wait)
        body = {"kind": kind, **fields, "key": key or os.urandom(16).hex()}
        path = self._branch(branch, "/requests")
        sent = self._send("POST", path, Request, body, repeatable=True)
        return self.wait(sent.id, wait) if wait else sent

    def preview(self, branch: str, kind: str, **fields: Any) -> Preview:
        """Return what a request would change, and whether it is valid; nothing is sent."""
        body = {"kind": kind, **fields}
        path = self._branch(branch, "/preview")
        return self._send("POST", path, Preview, body, repeatable=True)

    def interventions(self, branch: str, **query: Any) -> Interventions:
        """Return the changes along a branch; ``query``: ``by``, and ``from`` a node."""
        return self._get(self._branch(branch, "/interventions"), Interventions, **query)

    def replay(self, branch: str, recording: str, **options: Any) -> Replay:
        """Ask for the changes in the text of a recording; ``options`` as in the API."""
        body = {"recording": recording, **options}
        return self._send("POST", self._branch(branch, "/replay"), Replay, body, repeatable=True)

    def show_request(self, request_id: str) -> Request:
        """Return a request as it is now."""
        return self._get(path_of("/requests/{request_id}", request_id=request_id), Request)

    def requests(self, run: str) -> Iterator[Request]:
        """Yield the requests of a run, newest first."""
        path = path_of("/runs/{run}/requests", run=run)
        yield from self._pages(path, RequestPage, "before")

    def wait(self, request_id: str, timeout: float = 60.0) -> Request:
        """Return a request once it has ended.

        Raises:
            NotAnswered: ``timeout`` seconds passed.
        """
        timeout = seconds("timeout", timeout)
        deadline, pause = time.monotonic() + timeout, 0.05
        while True:
            request = self.show_request(request_id)
            if request.has_ended:
                return request
            if time.monotonic() >= deadline:
                raise NotAnswered(
                    f"Request {request.id} is {request.state} and has no answer after "
                    f"{timeout:g} s.",
                    safe="It stays recorded and will still be carried out.",
                    fix="Look again later, or cancel it.",
                    request=request.id,
                    waited=timeout,
                )
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(1.0, pause * 2)

    def cancel(self, request_id: str) -> Request:
        """Ask for the cancellation of a request; the process says whether that was in time."""
        path = path_of("/requests/{request_id}/cancel", request_id=request_id)
        return self._send("POST", path, Request)
