"""A watched process is asked to end first, and killed with all it started if it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import pytest

from branchtrack import processes
from branchtrack.core.records import Launch
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.launching import children
from branchtrack.launching.children import Child
from tests.launching.helpers import wait_until

#: It starts a process, says its pid, and ends neither by SIGTERM nor by itself.
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); time.sleep(600)"
)


class FakeLaunch:
    """As much of a launch as a child needs."""

    id = "0123456789abcdef"


def child_of(code: str) -> Child:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, LAUNCH_VARIABLE: FakeLaunch.id},
    )
    return Child(cast(Launch, FakeLaunch()), process.pid, process)


@pytest.fixture
def stubborn() -> Iterator[Child]:
    child = child_of(STUBBORN)
    assert child.process is not None
    with child.process:
        yield child
        child.process.kill()


def first_line(child: Child) -> str:
    assert child.process is not None and child.process.stdout is not None
    return child.process.stdout.readline().decode()


def test_a_process_that_ends_when_asked_is_not_killed() -> None:
    child = child_of("import time; print('on', flush=True); time.sleep(600)")
    assert child.process is not None
    with child.process:
        assert first_line(child) == "on\n" and not child.has_ended()
        child.ask_to_end()
        wait_until(child.has_ended)
    assert child.exit_code == -signal.SIGTERM and not child.was_killed


def test_one_that_does_not_end_in_time_is_killed_with_what_it_started(
    stubborn: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    grandchild = int(first_line(stubborn))
    stubborn.ask_to_end()
    stubborn.ask_to_end()
    assert not stubborn.was_killed
    monkeypatch.setattr(children, "GRACE", -1.0)
    stubborn.ask_to_end()
    wait_until(stubborn.has_ended)
    assert stubborn.was_killed and stubborn.exit_code == -signal.SIGKILL
    wait_until(lambda: not processes.is_alive(grandchild))


def test_an_adopted_process_is_told_by_its_variable_and_ended_too(stubborn: Child) -> None:
    first_line(stubborn)
    adopted = Child(stubborn.launch, stubborn.pid)
    assert not adopted.has_ended() and adopted.exit_code is None
    adopted.kill()
    wait_until(stubborn.has_ended)
    assert adopted.has_ended()
    # The pid may be somebody else's by now.
    somebody = Child(stubborn.launch, os.getpid())
    assert somebody.has_ended()
    somebody.kill()
    assert not somebody.was_killed
