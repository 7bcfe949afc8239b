"""Events, and the cursor that asks for what is new."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from branchtrack.schemas.audit import AuditQuery, EventsQuery


def test_a_page_begins_at_the_first_event() -> None:
    assert (AuditQuery().after, AuditQuery().limit) == (0, 200)


def test_a_stream_begins_with_what_happens_next() -> None:
    assert EventsQuery().after is None
    assert EventsQuery.model_validate({"after": "7"}).after == 7


@pytest.mark.parametrize("after", ["-1", "x", str(2**64)])
def test_what_no_database_can_hold_is_no_cursor(after: str) -> None:
    with pytest.raises(ValidationError):
        EventsQuery.model_validate({"after": after})
