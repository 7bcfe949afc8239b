"""Requests to a server: what can be sent, the token, time-outs, and what is tried again.

Only what may safely arrive twice is tried again: reading, and requests with a key. What cannot be
sent is refused before anything is. It knows no route.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

import httpx2

from branchtrack.client.problems import error_of
from branchtrack.core.nonfinite import spelled
from branchtrack.errors import BranchtrackError, InvalidInput, Unreachable, printable

#: How often a request is made in all, and the first pause between two, in seconds.
TRIES, PAUSE = 4, 0.2
#: Statuses of a server that may answer the next time.
_PASSING = (429, 502, 503, 504)
_PATH = "/api/v1"
#: Characters of a name in a path, and of a value in a query: more than any that exists.
_LONGEST_NAME, _LONGEST_VALUE = 200, 4000
#: The largest number in a query: those of Python may have more digits than it prints.
_LARGEST: Any = sys.float_info.max
#: The largest number of an event: the API takes none beyond it.
_LARGEST_WHOLE: Any = 2**53
#: The longest time-out in seconds that every system can wait for.
_LONGEST_TIMEOUT = 1e6


class Connection:
    """A connection to the server at ``url``; ``timeout`` in seconds is for each request.

    The address that `branchtrack serve` prints may be given as it is, with the token in it.

    Raises:
        InvalidInput: it is no address of a server, or ``token`` or ``timeout`` cannot be one.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        timeout: float,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        parts = _address(url)
        token = token or parse_qs(parts.query).get("token", [None])[0]
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        headers = {"Authorization": f"Bearer {_secret(token)}"} if token else {}
        self._timeout = _timeout(timeout)
        try:
            self._http = httpx2.Client(
                base_url=self.url + _PATH,
                headers=headers,
                timeout=self._timeout,
                transport=transport,
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise _no_address(url) from error

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
            BranchtrackError: the error that the server answered with; it is closed.
            InvalidInput: ``query`` or ``body`` cannot be sent. Unreachable: no answer.
        """
        self._check_open()
        sent: dict[str, Any] = {"params": _parameters(query or {})}
        if body is not None:
            sent |= {"content": _json(body), "headers": {"Content-Type": "application/json"}}
        tries = TRIES if repeatable else 1
        for attempt in range(1, tries + 1):
            try:
                response = self._http.request(method, path, timeout=self._timeout + longer, **sent)
            except httpx2.InvalidURL as error:
                raise InvalidInput("query", query, "texts that fit into an address") from error
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
            BranchtrackError: the error that the server answered with; it is closed.
            Unreachable: no answer.
        """
        self._check_open()
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

    def _check_open(self) -> None:
        if self._http.is_closed:
            raise BranchtrackError(
                "This client is closed.",
                safe="Nothing was sent.",
                fix="Create another branchtrack.Client, or use it before its `with` block ends.",
            )

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


def in_process(app: Any) -> httpx2.BaseTransport:
    """Return a transport to a WSGI application in this process."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        # WSGI has the bytes of a path in a str, one character each (PEP 3333); httpx2 has text.
        environ["PATH_INFO"] = environ["PATH_INFO"].encode().decode("latin-1")
        return app(environ, start_response)

    return httpx2.WSGITransport(app=application)


def segment(field: str, name: str) -> str:
    """Return a name as one segment of a path, which no server and no proxy takes for several.

    Raises:
        InvalidInput: nothing has such a name.
    """
    is_name = isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and printable(name) == name
    # A server decodes %2F before it looks for a route.
    if not is_name or "/" in name or name in (".", ".."):
        raise InvalidInput(
            field, name, f"1 to {_LONGEST_NAME} characters without '/', other than '.' and '..'"
        )
    return quote(name, safe="")


def mapping(field: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return values by name; of None there are none."""
    if values is not None and not isinstance(values, Mapping):
        raise InvalidInput(field, values, "values by name, such as {'lr': 3e-4}")
    return dict(values or {})


def texts(field: str, items: Iterable[str]) -> list[str]:
    """Return texts as a list; a text alone is refused, not taken for its characters."""
    is_list = isinstance(items, Iterable) and not isinstance(items, (str, bytes))
    listed = list(items) if is_list else [None]
    if not all(isinstance(item, str) for item in listed):
        raise InvalidInput(field, items, "a list of texts, such as ['good']")
    return [str(item) for item in listed]


def whole(field: str, number: int) -> str:
    """Return a whole number from 0 as text."""
    if not isinstance(number, Integral) or not 0 <= number <= _LARGEST_WHOLE:
        raise InvalidInput(field, number, f"a whole number from 0 to {_LARGEST_WHOLE}")
    return str(number)


def seconds(field: str, number: float) -> float:
    """Return a number of seconds to wait; infinity is one."""
    is_number = isinstance(number, Real) and (number == math.inf or abs(number) <= _LARGEST)
    if not is_number:
        raise InvalidInput(field, number, "a number of seconds")
    return float(number)


def _timeout(number: float) -> float:
    is_number = isinstance(number, Real) and not isinstance(number, bool)
    if not is_number or not 0 < number <= _LONGEST_TIMEOUT:
        allowed = f"a number of seconds greater than 0, at most {_LONGEST_TIMEOUT:,.0f}"
        raise InvalidInput("timeout", number, allowed)
    return float(number)


def _address(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (AttributeError, TypeError, ValueError):
        is_address = False
    if not is_address or not isinstance(url, str):
        raise _no_address(url)
    return parts


def _no_address(url: Any) -> InvalidInput:
    # What comes after the question mark may be a token.
    shown = url.partition("?")[0] if isinstance(url, str) else url
    return InvalidInput("url", shown, "an address such as http://127.0.0.1:8642")


def _secret(token: str) -> str:
    """Return a token that fits in a header; an error does not show it."""
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise InvalidInput(
            "token",
            None,
            "the secret that `branchtrack token create` printed: ASCII, without line breaks",
            what="token: it has characters that no token has, or is no text.",
        )
    return token


def _parameters(query: Mapping[str, Any]) -> dict[str, Any]:
    for field, value in query.items():
        is_number = isinstance(value, Real) and not abs(value) > _LARGEST
        is_text = isinstance(value, str) and printable(value) == value
        if not is_number and not (is_text and len(value) <= _LONGEST_VALUE):
            allowed = f"a number, or text of at most {_LONGEST_VALUE} characters"
            raise InvalidInput(field, value, allowed)
    return dict(query)


def _json(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON, with the names of numbers that JSON does not have."""
    for field, value in body.items():
        items = value if isinstance(value, dict) else {field: value}
        for name, item in items.items():
            try:
                _dumped({name: item})
            except (TypeError, ValueError, RecursionError) as error:
                allowed = "what JSON has: text, numbers, true, false, null, lists and objects"
                raise InvalidInput(str(name), item, allowed) from error
    return _dumped(body)


def _dumped(value: Any) -> bytes:
    return json.dumps(spelled(value), ensure_ascii=False, allow_nan=False).encode()
