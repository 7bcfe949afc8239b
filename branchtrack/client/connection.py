"""Requests to a server: the token, time-outs, and what is tried again.

Only what may safely arrive twice is tried again: reading, and requests with a key. It knows no
route.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from branchtrack.client.problems import error_of
from branchtrack.errors import InvalidInput, Unreachable

#: How often a request is made in all, and the first pause between two, in seconds.
TRIES, PAUSE = 4, 0.2
#: Statuses of a server that may answer the next time.
_PASSING = (429, 502, 503, 504)
_PATH = "/api/v1"


class Connection:
    """A connection to the server at ``url``; ``timeout`` in seconds is for each request.

    The address that `branchtrack serve` prints may be given as it is, with the token in it.

    Raises:
        InvalidInput: it is no address of a server.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        timeout: float,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InvalidInput("url", url, "an address such as http://127.0.0.1:8642")
        token = token or parse_qs(parts.query).get("token", [None])[0]
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout
        self._http = httpx2.Client(
            base_url=self.url + _PATH, headers=headers, timeout=timeout, transport=transport
        )

    def close(self) -> None:
        """Close it."""
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool = False,
        longer: float = 0.0,
    ) -> bytes:
        """Return the content of the answer to a request.

        ``repeatable``: it may be made again if nothing is known of how it ended. ``longer`` is
        added to the time-out, in seconds.

        Raises:
            BranchtrackError: the error that the server answered with. Unreachable: no answer.
        """
        tries = TRIES if repeatable else 1
        for attempt in range(1, tries + 1):
            try:
                response = self._http.request(
                    method, path, params=query, json=body, timeout=self._timeout + longer
                )
            except httpx2.RequestError as error:
                if attempt == tries:
                    raise self.unreachable(error) from error
                pause = PAUSE * 2**attempt
            else:
                if response.is_success:
                    return response.content
                pause = _pause_after(response, attempt)
                if attempt == tries or not 0 <= pause <= self._timeout:
                    raise error_of(response.status_code, response.content)
            time.sleep(pause)
        raise AssertionError("the last attempt has returned or raised")

    @contextmanager
    def stream(self, path: str, last_id: str | None) -> Iterator[httpx2.EventSource]:
        """Open a stream of messages after the one with an id, or from now on.

        Raises:
            BranchtrackError: the error that the server answered with. Unreachable: no answer.
        """
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        # The server shows every 15 seconds that it is there.
        timeout = httpx2.Timeout(self._timeout, read=max(60.0, self._timeout))
        try:
            with self._http.sse(path, headers=headers, timeout=timeout) as source:
                if not source.response.is_success:
                    content = source.response.read()
                    raise error_of(source.response.status_code, content)
                yield source
        except (httpx2.RequestError, httpx2.StreamError, httpx2.SSEError) as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: Exception) -> Unreachable:
        """Return the error of a server that did not answer."""
        return Unreachable(
            f"The server at {self.url} did not answer: {str(error) or type(error).__name__}.",
            safe="Training does not depend on it.",
            fix="Check that `branchtrack serve` runs there, and the address.",
            url=self.url,
        )


def _pause_after(response: httpx2.Response, attempt: int) -> float:
    """Return the seconds after which an answer may be another one; -1 if it will not be."""
    if response.status_code not in _PASSING:
        return -1.0
    told = response.headers.get("Retry-After", "")
    if told.isascii() and told.isdigit():
        return float(told[:6])
    # Without that header it is the limit of a token, which training has to reach.
    return -1.0 if response.status_code == 429 else PAUSE * 2**attempt
