"""Processes told apart, and dead ones told from living."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from branchtrack import processes
from tests.launching.helpers import (
    wait_until,
)


def test_a_name_of_a_process_is_never_used_again() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        host = processes.own_name().split(":")[0]
        assert not processes.is_gone(processes.own_name())
        assert processes.is_gone(f"{host}:{process.pid}:1")
        process.communicate(b"\n")
    assert processes.is_gone(f"{host}:{process.pid}:1")


@pytest.mark.parametrize("name", ["", "host", "host:abc:1", "a:b:c:d"])
def test_a_name_that_says_nothing_is_never_gone(name: str) -> None:
    assert not processes.is_gone(name)


def test_a_dead_process_that_nobody_has_buried_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: not processes.is_alive(process.pid))
    process.wait()


def test_another_process_of_the_same_pid_is_not_taken_for_a_child() -> None:
    assert processes.is_alive(os.getpid())
    assert not processes.is_alive(os.getpid(), "BRANCHTRACK_LAUNCH=0123456789abcdef")
