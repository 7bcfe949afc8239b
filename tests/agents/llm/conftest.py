"""What holds for all tests of language models: no key but a test's own."""

from __future__ import annotations

import pytest

from branchtrack.environment_variables import LLM_KEY_VARIABLE, OPENAI_API_KEY


@pytest.fixture(autouse=True)
def _no_key_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LLM_KEY_VARIABLE, raising=False)
    monkeypatch.delenv(OPENAI_API_KEY, raising=False)
