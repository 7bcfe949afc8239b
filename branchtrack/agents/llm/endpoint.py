"""One question to an OpenAI-compatible endpoint (POST /chat/completions), and its answer.

Whatever the other side does, this ends within the timeout, keeps at most a megabyte, and raises
nothing but `EndpointError`. The key is sent, and never part of an error, even if the other side
repeats it; the text of an answer is as it came.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from branchtrack import environment_variables as variables
from branchtrack.agents.llm import secret
from branchtrack.errors import InvalidInput

_MOST_BYTES = 1 << 20
_SHOWN = 500
_LONGEST_WAIT = 3600
#: Errors before there is a connection; whatever else happens, a model may have been asked.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)
#: Seconds beyond the timeout, in which the library itself says what took so long.
_LEEWAY = 0.5


@dataclass(frozen=True)
class Reply:
    """The text of an answer, with the tokens that the endpoint counted (None: it did not)."""

    text: str
    tokens_in: int | None
    tokens_out: int | None


class EndpointError(Exception):
    """The endpoint gave no answer, and why.

    ``reply`` has what it said instead, if anything. ``received`` are the bytes that came, some of
    which may be in no reply. ``is_sent``: whether the question may have reached a model.
    ``retry_after`` are the seconds that it asks for before another question; None: it does not.
    """

    def __init__(
        self, why: str, text: str = "", *, received: int | None = None, is_sent: bool = True
    ) -> None:
        super().__init__(why)
        self.reply = Reply(text, None, None)
        self.received = len(text) if received is None else received
        self.is_sent = is_sent
        self.retry_after: float | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where a model is asked; ``timeout`` in seconds, for all of a question."""

    base_url: str
    model: str
    timeout: float = 60.0

    def __post_init__(self) -> None:
        allowed = "an address such as http://127.0.0.1:8000/v1"
        if "@" in self.base_url or "?" in self.base_url or "#" in self.base_url:
            # It may hold a password, which no record and no message is to show.
            raise InvalidInput(
                "base_url", "…", f"{allowed}; a key belongs in {variables.LLM_KEY_VARIABLE}"
            )
        if not _is_address(self.base_url):
            raise InvalidInput("base_url", self.base_url, allowed)

    def ask(self, messages: Sequence[Mapping[str, str]], **parameters: Any) -> Reply:
        """Return the model's answer to some messages.

        Raises:
            EndpointError: there was none.
        """
        body = {"model": self.model, "messages": list(messages), **parameters}
        answers: queue.SimpleQueue[Reply | EndpointError] = queue.SimpleQueue()
        try:
            key = secret.key()
        except InvalidInput as error:
            raise EndpointError(error.what, is_sent=False) from None
        content = bytearray()

        def send() -> None:
            try:
                answers.put(self._ask(body, key, content))
            except EndpointError as error:
                answers.put(error)

        # The library's timeouts are for each read: names that are looked up, and heads that come
        # a byte at a time, have none. A thread that hangs there is left behind.
        threading.Thread(target=send, name="question to a model", daemon=True).start()
        try:
            answer = answers.get(timeout=self.timeout + _LEEWAY)
        except queue.Empty:
            raise EndpointError(self._late, received=len(content)) from None
        if isinstance(answer, EndpointError):
            raise answer
        return answer

    @property
    def _late(self) -> str:
        return f"No answer in {self.timeout:g} seconds."

    def _ask(self, body: Mapping[str, Any], key: str, content: bytearray) -> Reply:
        """Return the answer to a body; ``content`` gets what comes, as it comes."""
        deadline = time.monotonic() + self.timeout
        headers = {"Accept-Encoding": "identity"}
        try:
            with (
                httpx2.Client(timeout=self.timeout, follow_redirects=False) as client,
                client.stream(
                    "POST",
                    self.base_url.rstrip("/") + "/chat/completions",
                    json=body,
                    headers={**headers, "Authorization": f"Bearer {key}"} if key else headers,
                ) as response,
            ):
                _read(response, content, deadline)
                status, wait = response.status_code, response.headers.get("Retry-After", "")
        except EndpointError:
            raise
        except Exception as error:
            is_late = isinstance(error, httpx2.TimeoutException)
            words = secret.hide(f"{type(error).__name__}: {error}", key)[:_SHOWN]
            why = self._late if is_late else words
            is_sent = not isinstance(error, _UNSENT)
            raise EndpointError(why, received=len(content), is_sent=is_sent) from error
        text = content.decode("utf-8", "replace")
        shown = secret.hide(text, key)
        if status != 200:
            refusal = EndpointError(f"The endpoint answered with status {status}.", shown)
            refusal.retry_after = _seconds(wait)
            raise refusal
        return _reply(text, shown)


def _read(response: httpx2.Response, content: bytearray, deadline: float) -> None:
    """Read the body; a slow one ends at the deadline, though each of its parts is in time."""
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > _MOST_BYTES:
            why = f"The answer is longer than {_MOST_BYTES:,} bytes."
            raise EndpointError(why, received=len(content))
        if time.monotonic() > deadline:
            raise EndpointError("The answer did not end in time.", received=len(content))


def _reply(text: str, shown: str) -> Reply:
    """Return the answer in a body; ``shown`` is the body as an error has it."""
    try:
        content = json.loads(text)
        answer = content["choices"][0]["message"]["content"]
        usage = content.get("usage") or {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise EndpointError("The answer is not that of a chat completion.", shown) from error
    counted = [count if _is_count(count) else None for count in counts]
    if not isinstance(answer, str):
        no_text = EndpointError("The answer has no text.", shown)
        # A model that only thought was paid for it.
        no_text.reply = Reply(shown, *counted)
        raise no_text
    return Reply(answer, *counted)


def _is_address(text: str) -> bool:
    """Return whether a text is an address of HTTP, with a host and a port that can be."""
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
        httpx2.URL(text)
    except (ValueError, httpx2.InvalidURL):
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _seconds(text: str) -> float | None:
    """Return the seconds of a header Retry-After, at most an hour; None if it has a date."""
    text = text.strip()
    is_number = text.isascii() and text.isdigit() and len(text) < 20
    return float(min(int(text), _LONGEST_WAIT)) if is_number else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
