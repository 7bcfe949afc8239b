"""A policy is entered by fields, of which empty ones are not part."""

from __future__ import annotations

import pytest

from branchtrack.errors import InvalidInput
from branchtrack.web.view import storage


def test_empty_fields_are_not_part_of_a_policy() -> None:
    fields = dict.fromkeys(storage.FIELDS, "") | {"keep": "heads", "last": "3"}
    assert storage.entered_policy(fields).as_json() == {"keep": "heads", "last": 3}
    with pytest.raises(InvalidInput):
        storage.entered_policy({"last": "3"})
