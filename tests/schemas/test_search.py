"""The query string of the search over nodes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from branchtrack.schemas.search import FindQuery


def test_without_a_query_every_node_is_meant_and_pages_are_bounded() -> None:
    assert FindQuery.model_validate({}).q == ""
    for wrong in ({"limit": 0}, {"limit": 1001}, {"after": -1}, {"query": "lr>1"}):
        with pytest.raises(ValidationError):
            FindQuery.model_validate(wrong)
