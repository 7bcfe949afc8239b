"""Which alerts are asked for."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from branchtrack.core.health.alerts import LEVELS
from branchtrack.schemas.alerts import AlertPage, AlertsQuery


def test_alerts_are_asked_for_by_every_level_and_no_other() -> None:
    assert get_args(AlertsQuery.model_fields["level"].annotation) == LEVELS
    for query in ({"level": "loud"}, {"since": "x"}, {"limit": "0"}):
        with pytest.raises(ValidationError):
            AlertsQuery.model_validate(query)


def test_a_page_is_of_alerts() -> None:
    assert AlertPage.items in AlertPage.model_fields
