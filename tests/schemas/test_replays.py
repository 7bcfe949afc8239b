"""What a replay is asked with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from branchtrack.schemas.replays import InterventionsQuery, ReplayBody


def test_a_recording_is_text_and_the_rest_has_defaults() -> None:
    body = ReplayBody(recording="{}")
    assert (body.reason, body.skip_past, body.dry_run) == ("", False, False)
    assert InterventionsQuery.model_validate({"from": "3fa9"}).start == "3fa9"
    with pytest.raises(ValidationError):
        ReplayBody.model_validate({"recording": {}})
    with pytest.raises(ValidationError):
        ReplayBody.model_validate({"recording": "a\0"})
