"""Keys of endpoints: read from the environment, and hidden however they are spelled."""

from __future__ import annotations

import json

import pytest

from branchtrack.agents.llm import secret
from branchtrack.environment_variables import LLM_KEY_VARIABLE, OPENAI_API_KEY
from branchtrack.errors import InvalidInput

KEY = 'sk-"SE\\CR/ET"'


def test_the_key_is_the_products_own_or_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret.key() == ""
    monkeypatch.setenv(OPENAI_API_KEY, "others")
    assert secret.key() == "others"
    monkeypatch.setenv(LLM_KEY_VARIABLE, " own\n")
    assert secret.key() == "own"


def test_a_key_that_no_header_can_have_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LLM_KEY_VARIABLE, "sk-se\ncret")
    with pytest.raises(InvalidInput, match=LLM_KEY_VARIABLE) as raised:
        secret.key()
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        json.dumps(KEY),
        json.dumps(json.dumps(KEY)),
        repr(json.dumps(KEY)),
        "".join(f"\\u{ord(c):04x}" for c in KEY),
        "".join(f"\\u{ord(c):04X}" for c in KEY),
        json.dumps(KEY).replace("/", "\\/").replace("s", "\\u0073"),
    ],
)
def test_a_key_is_hidden_in_every_spelling_of_json(text: str) -> None:
    hidden = secret.hide(f"It is {text}.", KEY)
    assert hidden.strip("\"'\\ ").startswith("It is") and "…" in hidden
    assert "ET" not in hidden and "0045" not in hidden and len(hidden) < 20


def test_a_key_is_hidden_anywhere_in_a_value() -> None:
    value = {"a": [1, None, f"x{KEY}"], KEY: {"b": KEY}}
    assert secret.hide(value, KEY) == {"a": [1, None, "x…"], "…": {"b": "…"}}


@pytest.mark.parametrize("key", ["", "x", "lr", "none", "EMPTY", "1234567"])
def test_a_placeholder_is_no_secret(key: str) -> None:
    text = f'{{"values": {{"lr": 0.1}}, "x": "{key}"}}'
    assert secret.hide(text, key) == text


@pytest.mark.parametrize("key", ["\\" * 30 + "x", "a" + "\\" * 9 + "x", KEY])
def test_a_long_text_of_backslashes_is_searched_once(key: str) -> None:
    text = "a" + "\\" * (1 << 17)
    assert secret.hide(text, key) == text
