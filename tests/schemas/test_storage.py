"""Policies as a body spells them."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from branchtrack.retention.policies import KEEPS
from branchtrack.schemas.storage import SweepBody
from branchtrack.web.view.storage import FIELDS


def test_a_body_has_the_fields_of_a_policy() -> None:
    assert set(SweepBody.model_fields) == {*FIELDS, "dry_run"}
    (literal, _none) = get_args(SweepBody.model_fields["keep"].annotation)
    assert get_args(literal) == KEEPS


@pytest.mark.parametrize("body", [{"keep": 1}, {"last": 0}, {"every": "ten"}, {"dry_run": "yes"}])
def test_what_is_no_policy_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SweepBody.model_validate(body)
