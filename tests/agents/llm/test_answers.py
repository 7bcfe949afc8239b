"""Texts of models: one JSON object is a decision, anything else is refused."""

from __future__ import annotations

import pytest

from branchtrack.agents.llm import answers
from branchtrack.core.agents.decisions import Nothing, Set
from branchtrack.errors import InvalidInput

NOTHING = '{"action": "nothing", "reason": "fine"}'


@pytest.mark.parametrize(
    "text", [NOTHING, f" \n{NOTHING}\n", f"```json\n{NOTHING}\n```", f"```\n{NOTHING}\n```\n"]
)
def test_an_object_is_read_in_a_fence_or_not(text: str) -> None:
    assert answers.read(text) == Nothing(reason="fine")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Lower the rate.",
        f"I would do this, but do not: {NOTHING}",
        f"{NOTHING} {NOTHING}",
        f"[{NOTHING}]",
        "null",
        "7",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"action": "nothing", "reason": ' + "9" * 5000 + "}",
        '{"action": "nothing"',
        '{"action": "nothing", "reason": "fine", "reason": "bad"}',
        '{"action": "set", "values": {"lr": 0.002, "lr": 50}, "reason": "x"}',
        '{"action": "set", "values": {"lr": 0.002, "l\\u0072": 50}, "reason": "x"}',
        r'{"action": "nothing", "reason": "fine \u0000"}',
        r'{"action": "set", "values": {"lr\u0000": 1}, "reason": "fine"}',
        r'{"action": "nothing", "reason": "fine \ud800"}',
        '{"action": "set", "values": {"lr": ' + "9" * 30 + '}, "reason": "x"}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        answers.read(text)


def test_a_decision_and_a_refusal_are_without_the_key() -> None:
    key = "sk-SECRET-0123"
    spelled = key.replace("s", "\\u0073")
    decision = answers.read(
        f'{{"action": "set", "values": {{"lr": "{spelled}"}}, "reason": "it is {spelled}"}}', key
    )
    assert isinstance(decision, Set)
    assert (decision.values, decision.reason) == ({"lr": "…"}, "it is …")
    for refused in (f'{{"action": "{spelled}", "reason": "x"}}', f"It is {key}", f'"{spelled}"'):
        with pytest.raises(InvalidInput) as raised:
            answers.read(refused, key)
        assert "SECRET" not in str(raised.value)


def test_an_answer_is_read_as_it_came_before_a_key_is_hidden() -> None:
    assert answers.read('{"action": "nothing", "reason": "fine"}', "nothing-") == Nothing(
        reason="fine"
    )
    assert answers.read(NOTHING, '"action"') == Nothing(reason="fine")
