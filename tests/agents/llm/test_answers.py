"""Texts of models: one JSON object is a decision, anything else is refused."""

from __future__ import annotations

import pytest

from branchtrack.agents.llm import answers
from branchtrack.core.agents.decisions import Nothing
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
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        answers.read(text)
