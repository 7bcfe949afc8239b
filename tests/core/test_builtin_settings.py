"""The built-in settings, and what is said of each in its declaration."""

from __future__ import annotations

from dataclasses import fields

import pytest

from branchtrack.core import builtin_settings
from branchtrack.core.builtin_settings import (
    BETAS,
    BUILT_IN,
    GROUPS,
    LR,
    SETTINGS,
    declared,
    validate_all,
)
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

KNOWN = {setting.name: setting for setting in BUILT_IN}
LIST = Setting("list", "floats", 0.0, 1.0, count=2)
#: The fields that earlier versions did not write.
ADDED = ("group", "short", "is_frequent")


@pytest.mark.parametrize("name", SETTINGS)
def test_every_built_in_setting_has_a_group_and_a_short_name(name: str) -> None:
    setting = SETTINGS[name]
    assert setting.name == name and setting.group in GROUPS
    assert setting.short and setting.short_name == setting.short


def test_short_names_tell_settings_apart() -> None:
    assert len({setting.short for setting in SETTINGS.values()}) == len(SETTINGS)


def test_directives_are_no_values_in_force() -> None:
    assert builtin_settings.DIRECTIVES == (
        "horizon",
        "schedule_from",
        "stop_at",
        "reshuffle",
        "scheduler",
        "accept",
        "resize",
    )


def test_a_resume_can_change_what_a_loop_declares_for_later() -> None:
    assert not any(setting.live for setting in builtin_settings.AT_RESUME.values())
    assert "max_steps" in builtin_settings.AT_RESUME and "resize" not in builtin_settings.AT_RESUME
    assert builtin_settings.at_once(builtin_settings.MAX_STEPS).live


def test_an_argument_of_a_script_stands_for_one_setting() -> None:
    names = [name for setting in SETTINGS.values() for name in (setting.name, *setting.arguments)]
    assert len(set(names)) == len(names)


def test_an_absent_setting_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidInput, match="setting 'eps' here: the optimizers of this run have"):
        validate_all({"eps": 1}, KNOWN)


def test_declarations_survive_their_json_form() -> None:
    assert declared(setting.as_dict() for setting in SETTINGS.values()) == SETTINGS


def test_a_run_does_not_record_what_is_known_of_every_run() -> None:
    assert LR.as_dict().keys() & {"why_absent", "arguments", "in_groups"} == set()
    assert LR.as_dict().keys() == {row.name for row in fields(Setting) if row.compare}


@pytest.mark.parametrize(
    ("setting", "group"),
    [
        (LR, "Optimizer"),
        (Setting("critic.betas"), "Optimizer"),
        (Setting("critic.dampening", about="dampening of SGD"), "Optimizer"),
        (Setting("data.noise"), "Data"),
        (Setting("temperature"), ""),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_declaration_of_an_earlier_version_is_put_into_its_group(
    setting: Setting, group: str
) -> None:
    row = {name: value for name, value in setting.as_dict().items() if name not in ADDED}
    assert declared([row])[setting.name].group == group


def test_a_setting_of_a_named_optimizer_keeps_its_name_where_space_is_scarce() -> None:
    row = {**BETAS.as_dict(), "name": "critic.betas"}
    assert declared([row])["critic.betas"].short_name == "critic.betas"
    assert Setting("temperature").short_name == "temperature"


def test_one_bad_value_refuses_all() -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_all({"lr": "1e-3", "weight_decay": "-1"}, KNOWN)
    assert caught.value.field == "weight_decay"


def test_an_unknown_setting_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="lr, max_grad_norm, weight_decay"):
        validate_all({"learning_rate": "1"}, KNOWN)


def test_no_setting_at_all_is_refused() -> None:
    with pytest.raises(InvalidInput):
        validate_all({}, KNOWN)


def test_numbers_out_of_bounds_come_to_the_nearest_bound_only_if_asked() -> None:
    declarations = (LIST, Setting("count", "int", 1, 9), *BUILT_IN)
    settings = {setting.name: setting for setting in declarations}
    requested = {"weight_decay": "-1", "count": 12, "list": [0.5, 7], "max_grad_norm": 0.5}
    with pytest.raises(InvalidInput):
        validate_all(requested, settings)
    assert validate_all(requested, settings, clamp=True) == {
        "weight_decay": 0.0,
        "count": 9,
        "list": [0.5, 1.0],
        "max_grad_norm": 0.5,
    }
    assert validate_all({"lr": 1000}, settings, clamp=True) == {"lr": 100.0}
    for wrong in ({"lr": 0}, {"lr": "nan"}, {"lr": "inf"}, {"count": 1.5}, {"count": True}):
        with pytest.raises(InvalidInput):
            validate_all(wrong, settings, clamp=True)
