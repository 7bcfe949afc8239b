"""Bodies of the protocol of Interactive Training 2."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from branchtrack.schemas.protocol import ActionBody


def test_an_action_has_a_type_and_no_unknown_field() -> None:
    action = {"v": 2, "type": "pause", "payload": {}, "id": "a", "ts": 1.5, "source": "human"}
    assert ActionBody.model_validate(action).type == "pause"
    for wrong in ({}, {"type": ""}, {"type": "pause", "payload": []}, {"type": "pause", "do": 1}):
        with pytest.raises(ValidationError):
            ActionBody.model_validate(wrong)
