"""A person is asked before other code trains; a script is refused with the difference."""

from __future__ import annotations

import pytest

from branchtrack.cli import launch_options
from branchtrack.cli.commands import trust
from branchtrack.errors import CodeChanged, InvalidInput


def order(*, allow_code_change: bool) -> str:
    if not allow_code_change:
        raise CodeChanged("abcd", ["train.py"], [], "-a\n" * 500)
    return "ordered"


def test_without_a_person_the_difference_is_printed_and_the_order_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(CodeChanged, match="train.py"):
        launch_options.order_asking(order, False, quiet=False)
    err = capsys.readouterr().err
    assert err.count("-a\n") == 200 and "300 more lines" in err
    with pytest.raises(CodeChanged):
        launch_options.order_asking(order, False, quiet=True)
    assert capsys.readouterr().err == ""


def test_a_person_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "is_interactive", lambda: True)
    monkeypatch.setattr(launch_options.click, "confirm", lambda *_, **__: True)
    assert launch_options.order_asking(order, False, quiet=False) == "ordered"
    monkeypatch.setattr(launch_options.click, "confirm", lambda *_, **__: False)
    with pytest.raises(CodeChanged):
        launch_options.order_asking(order, False, quiet=False)


def test_what_is_allowed_is_not_asked_for() -> None:
    assert launch_options.order_asking(order, True, quiet=False) == "ordered"


def test_a_turn_has_its_labels_as_a_list() -> None:
    turn = launch_options.turn(3, "gpu, big", 1, False)
    assert turn == {
        "priority": 3,
        "labels": ["big", "gpu"],
        "retries": 1,
        "allow_code_change": False,
    }
    with pytest.raises(InvalidInput, match="labels"):
        launch_options.turn(None, "a b", 0, False)
