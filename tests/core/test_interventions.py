"""Payloads become typed interventions, or are refused with the allowed values."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core import interventions
from branchtrack.core.settings import BUILT_IN
from branchtrack.errors import InvalidInput

KNOWN = {setting.name: setting for setting in BUILT_IN}


def test_a_change_of_settings_is_normalised_and_described() -> None:
    found = interventions.parse({"kind": "set", "values": {"lr": "3e-4"}}, KNOWN)
    assert found.model_dump() == {"kind": "set", "values": {"lr": 3e-4}, "clamp": False}
    assert found.describe() == "set lr = 0.0003"


@pytest.mark.parametrize("kind", ["pause", "unpause", "checkpoint", "evaluate", "stop"])
def test_every_action_is_known_by_its_kind(kind: str) -> None:
    assert interventions.parse({"kind": kind}, KNOWN).kind == kind


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"kind": "explode"}, "kind"),
        ({}, "kind"),
        ({"kind": "set"}, "values"),
        ({"kind": "set", "values": {"lr": "nan"}}, "lr"),
        ({"kind": "set", "values": []}, "values"),
        ({"kind": "checkpoint", "shell": "rm"}, "shell"),
        ({"kind": "checkpoint", "message": "x" * 2001}, "message"),
    ],
)
def test_anything_else_is_refused_naming_the_field(payload: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        interventions.parse(payload, KNOWN)
    assert caught.value.field == field
