"""A launched process that branchtrack refuses says so, and not how its code came to it."""

from __future__ import annotations

import sys

import pytest

from branchtrack import refusal_lines
from branchtrack.environment_variables import DEBUG_VARIABLE, LAUNCH_VARIABLE
from branchtrack.errors import InvalidInput
from branchtrack.training.session import ordinals, refusal

ERROR = InvalidInput("lr", -1, "positive numbers")


@pytest.fixture(autouse=True)
def _own_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def ended_by(error: BaseException) -> None:
    try:
        raise error
    except type(error) as raised:
        sys.excepthook(type(raised), raised, raised.__traceback__)


def test_a_hook_that_was_put_around_ours_does_not_call_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal.print_messages()
    ours = sys.excepthook
    # As torch's process group does, which puts the rank before each line.
    monkeypatch.setattr(sys, "excepthook", lambda *error: ours(*error))
    refusal.print_messages()
    ended_by(ValueError("the script's own"))
    assert "ValueError: the script's own" in capsys.readouterr().err


def test_a_launched_process_prints_the_message_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(LAUNCH_VARIABLE, "0123456789abcdef")
    ordinals.this_process()
    ordinals.reset()
    ended_by(ERROR)
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert refusal_lines.parse_refusal(printed.splitlines()) == str(ERROR)


def test_the_traceback_is_there_for_whoever_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    refusal.print_messages()
    ended_by(ERROR)
    printed = capsys.readouterr().err
    assert "Traceback" in printed and refusal_lines.parse_refusal(printed.splitlines()) == str(
        ERROR
    )


def test_errors_of_the_script_have_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    refusal.print_messages()
    ended_by(ValueError("the script's own"))
    printed = capsys.readouterr().err
    assert "Traceback" in printed and "ValueError: the script's own" in printed


def test_a_process_that_no_launch_has_started_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(LAUNCH_VARIABLE, raising=False)
    before = sys.excepthook
    ordinals.reset()
    ordinals.this_process()
    assert sys.excepthook is before
