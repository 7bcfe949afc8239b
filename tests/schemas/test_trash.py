"""How something is deleted."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from branchtrack.schemas.trash import DeleteBranchQuery, DeleteQuery


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("0", False)])
def test_children_go_along_if_the_address_says_so(text: str, value: bool) -> None:
    query = DeleteBranchQuery.model_validate({"with_children": text})
    assert query.with_children is value


def test_a_run_has_no_children_to_go_along() -> None:
    with pytest.raises(ValidationError):
        DeleteQuery.model_validate({"with_children": "1"})
