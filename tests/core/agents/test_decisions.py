"""Decisions: what is one, and what a request or a person gets of it."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.agents import decisions
from branchtrack.core.agents.decisions import Act, Fork, Nothing, Rollback, Set, Try
from branchtrack.errors import InvalidInput


@pytest.mark.parametrize(
    ("answer", "decision", "payload"),
    [
        (
            {"action": "set", "values": {"lr": 0.1}},
            Set(values={"lr": 0.1}, reason="why"),
            {"kind": "set", "values": {"lr": 0.1}},
        ),
        (
            {"action": "rollback", "node": "abcd"},
            Rollback(node="abcd", reason="why"),
            {"kind": "rewind", "node": "abcd", "values": {}},
        ),
        ({"action": "stop"}, Act(action="stop", reason="why"), {"kind": "stop"}),
    ],
)
def test_an_answer_is_a_decision_and_a_request(answer: Any, decision: Any, payload: Any) -> None:
    assert decisions.read({**answer, "reason": "why"}) == decision
    assert decisions.payload(decision) == payload


def test_nothing_and_a_fork_are_read_as_well() -> None:
    assert isinstance(decisions.read({"action": "nothing", "reason": "why"}), Nothing)
    fork = decisions.read({"action": "fork", "node": "abcd", "reason": "why", "name": "b"})
    assert fork == Fork(node="abcd", name="b", reason="why")


def test_a_trial_is_read_with_what_is_usual() -> None:
    answer = {"action": "trial", "node": "abcd", "settings": {"lr": "x0.5"}, "reason": "why"}
    tried = decisions.read(answer)
    assert tried == Try(node="abcd", settings={"lr": "x0.5"}, reason="why")
    assert isinstance(tried, Try) and (tried.steps, tried.repeats, tried.metric) == (100, 8, None)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"action": "nothing"},
        {"action": "nothing", "reason": " \n"},
        {"action": "nothing", "reason": "x" * 2001},
        {"action": "purge", "reason": "why"},
        {"action": "run_shell", "command": "rm", "reason": "why"},
        {"action": "set", "reason": "why"},
        {"action": "set", "values": {}, "reason": "why"},
        {"action": "set", "values": [["lr", 1]], "reason": "why"},
        {"action": "stop", "reason": "why", "then": "delete"},
        {"action": "rollback", "node": 7, "reason": "why"},
        {"action": "rollback", "node": "a", "reason": "why"},
        {"action": ["stop"], "reason": "why"},
        {"action": "trial", "node": "abcd", "reason": "why"},
        {"action": "trial", "node": "abcd", "settings": {}, "reason": "why"},
        {"action": "trial", "node": "abcd", "settings": {"lr": 1}, "steps": 0, "reason": "why"},
        {"action": "trial", "node": "abcd", "settings": {"lr": 1}, "repeats": 101, "reason": "w"},
        {"action": "trial", "node": "abcd", "settings": {"lr": 1}, "command": {}, "reason": "why"},
    ],
)
def test_what_is_no_decision_is_refused(answer: Any) -> None:
    with pytest.raises(InvalidInput):
        decisions.read(answer)


def test_the_schema_names_every_action() -> None:
    text = str(decisions.schema())
    for action in "nothing set pause unpause stop evaluate checkpoint rollback fork trial".split():
        assert f"'{action}'" in text


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Set(values={"lr": 0.1, "b": True}, reason="w"), "set lr = 0.1, b = true"),
        (Rollback(node="abcd", values={"lr": 1}, reason="w"), "roll back to abcd with lr = 1"),
        (Fork(node="abcd", reason="w"), "fork abcd"),
        (
            Try(node="abcd", settings={"lr": "x0.5"}, reason="w"),
            'try lr = "x0.5" at abcd for 100 updates',
        ),
        (Act(action="stop", reason="w"), "stop"),
        (Nothing(reason="w"), "nothing"),
    ],
)
def test_a_decision_is_described_in_a_few_words(decision: Any, words: str) -> None:
    assert decisions.describe(decision) == words
