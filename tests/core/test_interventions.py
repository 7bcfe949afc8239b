"""Payloads become typed interventions, or are refused with the allowed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from branchtrack.core import interventions
from branchtrack.core.builtin_settings import BUILT_IN, MAX_STEPS
from branchtrack.core.capabilities import Action, Capabilities
from branchtrack.core.interventions import INTERVENTIONS, Intervention
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

DECLARED = {setting.name: setting for setting in (*BUILT_IN, MAX_STEPS)}
RELABEL = Action("relabel", parameters=[Setting("threshold")])
OFFERS = Capabilities({"relabel": RELABEL}, ["encoder", "encoder.bias"], False)


def validated(payload: Mapping[str, Any], offers: Capabilities = OFFERS) -> Intervention:
    return interventions.read(payload).validated(DECLARED, offers)


def test_a_change_of_settings_is_normalised_and_described() -> None:
    change = validated({"kind": "set", "values": {"lr": "3e-4"}})
    assert change.model_dump() == {"kind": "set", "values": {"lr": 3e-4}, "clamp": False}
    assert change.describe() == "set lr = 3e-4"


def test_a_value_is_clamped_only_if_that_was_requested() -> None:
    payload = {"kind": "set", "values": {"lr": 1000}}
    clamped = validated({**payload, "clamp": True}).model_dump()
    assert clamped == {"kind": "set", "values": {"lr": 100.0}, "clamp": True}
    with pytest.raises(InvalidInput):
        validated(payload)


def test_a_pause_with_an_end_says_so() -> None:
    assert validated({"kind": "pause", "seconds": 90}).describe() == "pause for 90 seconds"


@pytest.mark.parametrize("kind", ["pause", "unpause", "checkpoint", "evaluate", "stop"])
def test_every_action_is_known_by_its_kind(kind: str) -> None:
    assert validated({"kind": kind}, Capabilities()).kind == kind


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"kind": "explode"}, "kind"),
        ({}, "kind"),
        ({"kind": "set"}, "values"),
        ({"kind": "set", "values": {"lr": "nan"}}, "lr"),
        ({"kind": "set", "values": {"max_steps": 10}}, "max_steps"),
        ({"kind": "set", "values": []}, "values"),
        ({"kind": "checkpoint", "shell": "rm"}, "shell"),
        ({"kind": "checkpoint", "message": "x" * 2001}, "message"),
        ({"kind": "evaluate"}, "kind"),
        ({"kind": "pause", "seconds": 0}, "seconds"),
        ({"kind": "pause", "seconds": float("nan")}, "seconds"),
        ({"kind": "pause", "seconds": 1e9}, "seconds"),
        ({"kind": "pause", "seconds": 60, "free": True}, "seconds"),
        ({"kind": "unpause", "pause": 7}, "pause"),
        ({"kind": "freeze", "modules": "head"}, "modules"),
        ({"kind": "act", "action": "explode"}, "action"),
        ({"kind": "act", "action": "relabel"}, "arguments.threshold"),
    ],
)
def test_anything_else_is_refused_naming_the_field(payload: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        validated(payload)
    assert caught.value.field == field


def test_an_unknown_field_is_refused_with_those_of_its_kind() -> None:
    with pytest.raises(InvalidInput, match="node, name, values"):
        interventions.read({"kind": "rewind", "node": "abcd", "force": True})
    with pytest.raises(InvalidInput, match="no more than kind"):
        interventions.read({"kind": "evaluate", "force": True})


def test_an_argument_is_taken_as_its_parameter_has_it() -> None:
    payload = {"kind": "act", "action": "relabel", "arguments": {"threshold": "0.5"}}
    assert validated(payload).model_dump()["arguments"] == {"threshold": 0.5}


@pytest.mark.parametrize("kind", INTERVENTIONS)
def test_every_kind_says_what_its_button_needs_and_what_it_is_about(kind: str) -> None:
    model = INTERVENTIONS[kind]
    assert model.label and model.about and model.__doc__
    assert model.changes_settings == (model.awaits == "update")
    assert model.needs_process or not (model.makes_node or model.replayed)


@pytest.mark.parametrize(
    ("kind", "fields", "names"),
    [
        ("set", {"values": {"lr": 1, "eps": 2}}, ["lr", "eps"]),
        ("act", {"action": "relabel"}, ["relabel"]),
        ("rewind", {"node": "abcd", "values": {"lr": 1}}, ["rewind", "lr"]),
        ("freeze", {"modules": "head"}, ["freeze"]),
        ("resume", {"node": "abcd"}, ["resume"]),
    ],
)
def test_a_token_has_to_be_for_what_is_changed_or_done(
    kind: str, fields: dict[str, Any], names: list[str]
) -> None:
    assert interventions.names_of(kind, fields) == names


def test_one_kind_is_values_of_settings_and_nothing_else() -> None:
    assert [kind for kind in (*INTERVENTIONS, "resume") if interventions.has_settings(kind)] == [
        "set"
    ]


def test_an_order_of_a_launch_is_no_intervention_and_is_answered_at_once() -> None:
    assert interventions.awaited_by("resume", {}) == "answer"
    assert interventions.awaited_by("rewind", {}) == "segment"


def test_a_pause_that_frees_the_machine_is_over_when_its_process_has_ended() -> None:
    assert interventions.awaited_by("pause", {}) == "answer"
    assert interventions.awaited_by("pause", {"free": True}) == "end"


def test_a_missing_field_is_named_without_the_rest_of_the_request() -> None:
    with pytest.raises(InvalidInput) as refusal:
        interventions.read({"kind": "act", "arguments": {}})
    assert refusal.value.facts["field"] == "action" and refusal.value.facts["value"] is None
    assert "action is missing." in str(refusal.value) and "kind" not in str(refusal.value)
