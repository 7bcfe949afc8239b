"""Tokens as they are asked for and answered."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from branchtrack.core import actors
from branchtrack.schemas.access import NewToken, Token, TokenBody


def test_a_token_may_have_every_role_and_no_other() -> None:
    assert get_args(TokenBody.model_fields["role"].annotation) == actors.ROLES
    with pytest.raises(ValidationError):
        TokenBody.model_validate({"name": "bot", "role": "root"})


@pytest.mark.parametrize("limit", [True, 1.5, "3", 0])
def test_a_limit_is_a_whole_number_and_no_text(limit: object) -> None:
    with pytest.raises(ValidationError):
        TokenBody.model_validate({"name": "bot", "role": "agent", "max_per_1000_steps": limit})


def test_a_secret_is_in_the_answer_to_a_new_token_alone() -> None:
    assert set(NewToken.model_fields) - set(Token.model_fields) == {"secret"}
