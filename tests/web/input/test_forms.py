"""Posted forms as values."""

from __future__ import annotations

from branchtrack.core.builtin_settings import BUILT_IN, LR
from branchtrack.core.settings import Setting
from branchtrack.web.input import forms

KNOWN = {one.name: one for one in (*BUILT_IN, Setting("amp", "bool"), Setting("note", "str"))}
CURRENT = {"lr": 3e-4, "weight_decay": 0.0, "max_grad_norm": 1.0, "amp": True, "note": "a"}


def changed(**typed: str) -> dict[str, str]:
    return forms.changed_settings({f"set.{k}": v for k, v in typed.items()}, KNOWN, CURRENT)


def test_what_says_the_same_in_other_words_is_no_change() -> None:
    assert changed(lr="0.0003", weight_decay="0.0", max_grad_norm=" 1 ", amp="True", note="a") == {}


def test_an_emptied_or_absent_field_is_no_change() -> None:
    assert changed(lr="", weight_decay="   ") == {}


def test_a_text_that_is_emptied_is_a_change_and_one_without_a_value_is_none() -> None:
    assert changed(note="") == {"note": ""}
    assert forms.changed_settings({"set.note": ""}, KNOWN, {}) == {}
    assert (forms.written(None), forms.written(3e-4)) == ("", "3e-4")


def test_what_was_changed_is_kept_as_typed_right_or_wrong() -> None:
    typed = {"lr": "1e-4", "max_grad_norm": "abc", "amp": "false", "note": "b"}
    assert changed(**typed) == typed


def test_what_another_changed_since_is_not_changed_back() -> None:
    stale = {"set.lr": "1e-3", "was.lr": "1e-3", "set.weight_decay": "0.2", "was.weight_decay": "0"}
    assert forms.changed_settings(stale, KNOWN, CURRENT) == {"weight_decay": "0.2"}


def test_a_setting_that_the_node_does_not_have_is_a_change() -> None:
    assert forms.changed_settings({"set.lr": "1"}, KNOWN, {}) == {"lr": "1"}


def test_a_field_of_no_known_setting_is_left_for_others_to_refuse() -> None:
    assert changed(unknown="3") == {"unknown": "3"}
    assert forms.problems({"unknown": "3"}, KNOWN, {}, 0) == {}


def test_every_problem_is_found() -> None:
    found = forms.problems({"lr": "nan", "weight_decay": "0.1", "amp": "yes"}, KNOWN, {}, 0)
    assert found.keys() == {"lr", "amp"}
    assert found["amp"].allowed == "true or false"


def test_every_value_of_a_list_is_judged_and_relative_ones_by_the_value_in_force() -> None:
    current = {"lr": 0.01}
    for good in ("x0.5", "1e-3, x2", "+0.1"):
        assert forms.problems({"lr": good}, KNOWN, current, 5) == {}
        assert forms.changed_settings({"set.lr": good}, KNOWN, current) == {"lr": good}
    for bad in ("x0", "1e-3, -1", "1e-3,"):
        assert forms.problems({"lr": bad}, KNOWN, current, 5).keys() == {"lr"}


def test_a_relative_button_replaces_the_field_of_its_setting() -> None:
    form = {"set.lr": "7", "set.eps": "1e-8", "quick": "lr=x0.5", "reason": "too hot"}
    assert forms.pressed(form, kind="set") == {
        "kind": "set",
        "set.lr": "x0.5",
        "set.eps": "1e-8",
        "reason": "too hot",
    }
    assert forms.pressed({"kind": "pause"}) == {"kind": "pause"}


def test_a_field_that_shows_six_digits_of_a_value_is_no_change() -> None:
    current = {"lr": 2.0480000000000003e-3}
    assert forms.written(current["lr"]) == "2.048e-3"
    assert forms.changed_settings({"set.lr": "2.048e-3"}, {"lr": LR}, current) == {}


def test_the_same_form_sent_again_as_it_is_is_the_same_order() -> None:
    form = {"key": "1", "set.lr": "x0.5"}
    order_id = forms.order_id(form, "anna")
    assert order_id == forms.order_id({"set.lr": "x0.5", "key": "1"}, "anna")
    others = [({**form, "set.lr": "x2"}, "anna"), ({**form, "key": "2"}, "anna"), (form, "ben")]
    assert order_id not in [forms.order_id(other, who) for other, who in others]
    assert forms.order_id({"set.lr": "x0.5"}, "anna") is None
