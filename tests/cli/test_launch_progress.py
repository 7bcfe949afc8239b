"""Launches that a person watches: their bars, Ctrl-C, and how they ended."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.cli import launch_progress

ENDED: dict[str, Any] = {
    **dict.fromkeys("compared effective error log withdrawn remembered".split()),
    "run": "demo",
    "branch": "cool",
    "group": "rates",
    "node": "3fa9",
    "launch": "77aa",
    "state": "ended",
    "overrides": {"lr": 0.5},
    "restored": None,
}


def test_the_lines_of_a_launch_name_its_group() -> None:
    lines = launch_progress.launch_lines(ENDED)
    assert any(line.endswith("rates") for line in lines)
    without = launch_progress.launch_lines({**ENDED, "group": None})
    assert len(without) == len(lines) - 1


def test_an_interrupt_is_raised_at_a_look_and_at_no_other_moment() -> None:
    moves: list[Any] = []
    launch: Any = None
    segment: Any = SimpleNamespace(status="running", step=3, max_steps=9, rate=None)
    with launch_progress.interrupts() as received:
        watch = launch_progress.progress_of(lambda *move: moves.append(move), received)
        watch(launch, segment)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            watch(launch, segment)
        watch(launch, segment)
    assert moves == [(3, 9, "of 9 steps")] * 2
