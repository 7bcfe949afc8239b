"""One question to an endpoint, whatever the other side does."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from branchtrack.agents.llm.endpoint import Endpoint, EndpointError, Reply
from branchtrack.environment_variables import LLM_KEY_VARIABLE, OPENAI_API_KEY
from branchtrack.errors import InvalidInput
from tests.agents.llm.endpoints import Script, answering, completion, dripping, saying

MESSAGES = [{"role": "user", "content": "How is it going?"}]


def ask(script: Script, timeout: float = 5.0) -> Reply:
    with answering(script) as asked:
        return Endpoint(asked.url, "small", timeout).ask(MESSAGES)


def refusal(script: Script, timeout: float = 5.0) -> EndpointError:
    with pytest.raises(EndpointError) as raised:
        ask(script, timeout)
    return raised.value


def sleeping(handler: BaseHTTPRequestHandler, _question: dict[str, Any]) -> None:
    time.sleep(3)


def test_the_text_and_the_tokens_are_returned() -> None:
    with answering(saying(completion("{}", prompt_tokens=7, completion_tokens=2))) as asked:
        reply = Endpoint(f"{asked.url}/", "small").ask(MESSAGES, max_tokens=9)
    assert reply == Reply("{}", 7, 2)
    (question,) = asked
    assert question["path"] == "/v1/chat/completions" and question["max_tokens"] == 9
    assert (question["model"], question["messages"]) == ("small", MESSAGES)
    assert asked.authorization is None


@pytest.mark.parametrize("count", [True, -1, "many", None, 2**40])
def test_tokens_that_are_no_count_are_unknown(count: object) -> None:
    assert ask(saying(completion("x", prompt_tokens=count))) == Reply("x", None, None)


@pytest.mark.parametrize(
    "script",
    [
        sleeping,
        dripping(b"H"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Type: a\r\n"),
        dripping(b"HTTP/1.0 200 OK\r\n\r\n "),
    ],
    ids=["silent", "head by the letter", "endless head", "endless body"],
)
def test_a_slow_endpoint_has_no_more_than_its_time(script: Script) -> None:
    why = str(refusal(script, timeout=0.3))
    assert why in ("No answer in 0.3 seconds.", "The answer did not end in time.")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not that of a chat completion"),
        (b"\xff\xfe garbage", "not that of a chat completion"),
        (b"[]", "not that of a chat completion"),
        (b'{"choices": []}', "not that of a chat completion"),
        (b'{"choices": [{"message": "hi"}]}', "not that of a chat completion"),
        (b"[" * 100_000, "not that of a chat completion"),
        (completion(None), "no text"),
        (b"x" * (2 << 20), "longer than"),
    ],
)
def test_an_answer_of_another_form_is_refused(body: bytes, words: str) -> None:
    assert words in str(refusal(saying(body)))


@pytest.mark.parametrize("status", [301, 302, 307, 401, 404, 429, 500])
def test_another_status_is_an_error_and_no_redirect_is_followed(status: int) -> None:
    with answering(saying(completion("{}"))) as elsewhere:
        error = refusal(saying(b"no", status, Location=elsewhere.url))
        assert elsewhere == []
    assert str(status) in str(error) and error.reply.text == "no"


def test_an_endpoint_that_is_down_is_an_error() -> None:
    with answering(saying(b"")) as asked:
        pass
    with pytest.raises(EndpointError, match="ConnectError") as raised:
        Endpoint(asked.url, "small").ask(MESSAGES)
    assert not raised.value.is_sent


def test_what_arrived_of_an_answer_is_counted() -> None:
    assert refusal(saying(b"x" * (2 << 20))).received > 1 << 20
    drips = dripping(b"HTTP/1.0 200 OK\r\n\r\n")
    # Nothing may have come so soon on a loaded machine.
    assert any(refusal(drips, timeout=seconds).received for seconds in (0.3, 3.0, 30.0))
    assert refusal(saying(b"gone", 500)).received == 4
    late = refusal(sleeping, timeout=0.1)
    assert late.is_sent and late.received == 0


def test_the_key_is_sent_and_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPENAI_API_KEY, "others")
    with answering(saying(completion("{}"))) as asked:
        Endpoint(asked.url, "small").ask(MESSAGES)
        assert asked.authorization == "Bearer others"
        monkeypatch.setenv(LLM_KEY_VARIABLE, " sk-secret\n")
        Endpoint(asked.url, "small").ask(MESSAGES)
        assert asked.authorization == "Bearer sk-secret"
    error = refusal(saying(b"The key sk-secret is not valid.", 401))
    assert error.reply.text == "The key … is not valid."


@pytest.mark.parametrize("key", ["sk-se\ncret", "schlüssel", "a\x7fb"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LLM_KEY_VARIABLE, key)
    error = refusal(saying(completion("{}")))
    assert LLM_KEY_VARIABLE in str(error) and key not in str(error) and not error.reply.text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x",
        "file:///etc/passwd",
        "http://me:pass@host/v1",
        "http://h/v1?key=pass",
        "http://",
        "http:///v1",
        "http://[::1",
        "http://h:99999/v1",
        "http://h:x/v1",
        "http://h/v1\r\nX: y",
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Endpoint(url, "small")
    assert "pass@" not in str(raised.value) and "key=pass" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://[::1]:8000/v1", "https://h/v1", "http://h:80"])
def test_addresses_of_http_are_accepted(url: str) -> None:
    assert Endpoint(url, "small").base_url == url
