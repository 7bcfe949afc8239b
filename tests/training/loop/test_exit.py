"""However a script ends, its run says so; a forked process says nothing."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Iterator

import pytest

from branchtrack.training.loop.exit import UNFINISHED, Ending

Ends = list[tuple[str, str]]


@pytest.fixture
def ends() -> Ends:
    """What was recorded of the end."""
    return []


@pytest.fixture
def ending(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ending]:
    """The ending of a loop that runs."""
    monkeypatch.delattr(sys, "last_value", raising=False)
    ending = Ending(lambda status, why: ends.append((status, why)))
    yield ending
    ending.off()


@pytest.mark.parametrize(
    ("error", "status", "why"),
    [
        (KeyboardInterrupt(), "stopped", "Interrupted from the keyboard."),
        (SystemExit(0), "stopped", UNFINISHED),
        (ValueError("no rows"), "failed", "ValueError: no rows"),
        (GeneratorExit(), "failed", "GeneratorExit: "),
    ],
)
def test_an_exception_is_told_by_its_kind(
    ending: Ending, ends: Ends, error: BaseException, status: str, why: str
) -> None:
    ending.by(error)
    assert ends == [(status, why)]


def test_a_script_that_just_ends_is_unfinished(ending: Ending, ends: Ends) -> None:
    ending._at_exit()
    assert ends == [("stopped", UNFINISHED)]


def test_a_script_that_died_of_an_error_has_failed(
    ending: Ending, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "last_value", ValueError("no rows"), raising=False)
    ending._at_exit()
    assert ends == [("failed", "ValueError: no rows")]


def test_an_error_of_before_the_loop_is_not_its_end(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "last_value", ValueError("of an earlier cell"), raising=False)
    ending = Ending(lambda status, why: ends.append((status, why)))
    ending._at_exit()
    ending.off()
    assert ends == [("stopped", UNFINISHED)]


def test_a_forked_process_records_nothing(ending: Ending, ends: Ends) -> None:
    ending._process = -1
    ending._at_exit()
    assert ends == []


def test_an_end_that_was_recorded_is_not_watched_for(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[object] = []
    monkeypatch.setattr(atexit, "register", watched.append)
    monkeypatch.setattr(atexit, "unregister", watched.remove)
    Ending(lambda status, why: None).off()
    assert watched == []
