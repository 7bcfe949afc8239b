"""Questions to a model: what they cost, whatever comes of them."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from branchtrack.agents.llm import questions
from branchtrack.agents.llm.endpoint import Endpoint
from branchtrack.agents.llm.questions import Answer
from branchtrack.core.agents.decisions import Nothing, Set
from branchtrack.environment_variables import LLM_KEY_VARIABLE
from tests.agents.llm.endpoints import Script, answering, completion, saying

MESSAGES = [{"role": "user", "content": "x" * 400}]
NOTHING = '{"action": "nothing", "reason": "fine"}'


def ask(script: Script, timeout: float = 5.0) -> Answer:
    with answering(script) as asked:
        return questions.ask(Endpoint(asked.url, "small", timeout), MESSAGES)


def silent(handler: BaseHTTPRequestHandler, _question: dict[str, Any]) -> None:
    time.sleep(1)


def cut_off(handler: BaseHTTPRequestHandler, _question: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "9000")
    handler.end_headers()
    handler.wfile.write(b"y" * 40)


def test_a_decision_has_the_tokens_that_the_endpoint_counted() -> None:
    answer = ask(saying(completion(NOTHING, prompt_tokens=7, completion_tokens=2)))
    assert answer == Answer(NOTHING, "answered", 7, 2, decision=Nothing(reason="fine"))


def test_tokens_that_nobody_counted_are_estimated() -> None:
    answer = ask(saying(completion(NOTHING)))
    assert (answer.tokens_in, answer.tokens_out) == (100, 10)


@pytest.mark.parametrize(
    ("script", "least_out"),
    [
        (silent, 0),
        (cut_off, 10),
        (saying(b"z" * (2 << 20)), 1 << 18),
        (saying(b"", 302, Location="http://127.0.0.1:1/"), 0),
        (saying(b"gone" * 5, 500), 5),
        (saying(completion(None, prompt_tokens=3, completion_tokens=2000)), 2000),
    ],
    ids=["late", "cut off", "too long", "redirect", "status", "thoughts alone"],
)
def test_a_question_without_an_answer_is_charged(script: Script, least_out: int) -> None:
    answer = ask(script, timeout=0.3 if script is silent else 60.0)
    assert answer.outcome == "failed" and answer.decision is None and answer.error
    assert answer.tokens_in == 100 and answer.tokens_out >= least_out


def test_a_question_that_could_not_be_sent_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(saying(b"")) as asked:
        pass
    answer = questions.ask(Endpoint(asked.url, "small"), MESSAGES)
    assert (answer.outcome, answer.tokens_in, answer.tokens_out) == ("failed", 0, 0)
    monkeypatch.setenv(LLM_KEY_VARIABLE, "schl\u00fcssel")
    with answering(saying(completion(NOTHING))) as reached:
        answer = questions.ask(Endpoint(reached.url, "small"), MESSAGES)
        assert (answer.tokens_in, reached) == (0, [])


SECRET = "sk-SECRET-0123"


@pytest.mark.parametrize("spelling", [SECRET, SECRET.replace("s", "\\u0073"), f'\\"{SECRET}'])
@pytest.mark.parametrize(
    "content", ['{{"action": "nothing", "reason": "{}"}}', '{{"action": "{}"}}', "It is {}"]
)
@pytest.mark.parametrize("status", [200, 401])
def test_the_key_is_in_nothing_that_is_kept(
    spelling: str, content: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LLM_KEY_VARIABLE, SECRET)
    body = completion(content.format(spelling)).replace(b"sk-SECRET", b"\\u0073k-SECRET")
    answer = ask(saying(body, status))
    assert "SECRET" not in repr(answer) and answer.text


@pytest.mark.parametrize("key", ["lr", "0", "e", "x", "none", "EMPTY"])
def test_a_placeholder_for_a_key_changes_no_answer(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LLM_KEY_VARIABLE, key)
    text = '{"action": "set", "values": {"lr": 0.001}, "reason": "none is EMPTY, x"}'
    answer = ask(saying(completion(text)))
    assert answer.text == text
    assert answer.decision == Set(values={"lr": 0.001}, reason="none is EMPTY, x")
