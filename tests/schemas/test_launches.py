"""Orders have the fields and bounds of what carries them out."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from branchtrack import control
from branchtrack.schemas.launches import LogQuery, Ordered, ResumeBody
from branchtrack.web.view import log_tail


def test_a_node_can_be_resumed_in_every_mode() -> None:
    (literal, _none) = get_args(ResumeBody.model_fields["mode"].annotation)
    assert get_args(literal) == control.MODES


@pytest.mark.parametrize("field", [{"priority": 1001}, {"retries": -1}, {"nodes": [5]}, {"x": 1}])
def test_an_order_out_of_bounds_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ResumeBody.model_validate(field)


def test_as_many_lines_of_a_log_are_asked_for_as_are_read() -> None:
    with pytest.raises(ValidationError):
        LogQuery(lines=log_tail.MOST_LINES + 1)
    assert LogQuery(lines=log_tail.MOST_LINES).lines == log_tail.MOST_LINES


def test_several_orders_are_a_list() -> None:
    assert Ordered.model_validate([]).root == []
