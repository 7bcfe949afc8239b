"""Which part of a curve is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from branchtrack.schemas.curves import CompareQuery, CurveQuery


def test_a_curve_is_whole_unless_its_width_is_given() -> None:
    assert CurveQuery.model_validate({"branch": "r"}).points == "all"
    assert CurveQuery.model_validate({"branch": "r", "points": "40"}).points == 40
    assert CompareQuery.model_validate({"a": "r", "b": "r"}).points == 1000


@pytest.mark.parametrize(
    "query", [{"points": "3"}, {"points": "100001"}, {"from": "9", "to": "3"}, {"from": "-1"}, {}]
)
def test_a_part_that_makes_no_sense_is_refused(query: dict[str, Any]) -> None:
    branch = {"branch": "r"} if query else {}
    with pytest.raises(ValidationError):
        CurveQuery.model_validate({**branch, **query})
