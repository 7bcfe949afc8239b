"""What a slot gets of a machine: GPUs are found without torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from branchtrack.launching import devices

LIST = """\
GPU 0: NVIDIA A100 (UUID: GPU-aaaa-1)
GPU 1: NVIDIA A100 (UUID: GPU-bbbb-2)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc-3)
  MIG 3g.20gb     Device  1: (UUID: MIG-dddd-4)
GPU 2: NVIDIA A100 (UUID: GPU-eeee-5)
"""
Install = Callable[..., dict[str, str]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Install a fake ``nvidia-smi``, and return the variables that find it."""

    def make(printed: str, code: int = 0) -> dict[str, str]:
        program = tmp_path / "nvidia-smi"
        check = 'test "$1" = -L || exit 9'
        program.write_text(f"#!/bin/sh\n{check}\necho '{printed}'\nexit {code}\n")
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    return make


def test_the_variable_says_which_devices_may_be_used(install: Install) -> None:
    environ = install(LIST)
    for text, expected in (
        ("1,3", ["1", "3"]),
        (" GPU-a , 2", ["GPU-a", "2"]),
        ("", []),
        ("-1", []),
        ("0,-1,2", ["0"]),
    ):
        assert devices.visible({**environ, "CUDA_VISIBLE_DEVICES": text}) == expected


def test_without_it_they_are_all_that_the_driver_lists_parts_instead_of_a_divided_one(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = install(LIST)
    monkeypatch.setenv("PATH", environ["PATH"])
    expected = ["GPU-aaaa-1", "MIG-cccc-3", "MIG-dddd-4", "GPU-eeee-5"]
    assert devices.visible(environ) == expected


def test_a_driver_that_fails_or_is_not_there_lists_none(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environ = install(LIST, code=9)
    monkeypatch.setenv("PATH", environ["PATH"])
    assert devices.visible(environ) == []
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert devices.visible({}) == []


def test_a_launch_gets_a_device_that_the_fewest_have() -> None:
    assert devices.least_used(["0", "1", "2"], []) == "0"
    assert devices.least_used(["0", "1", "2"], ["0", "2", "0", "1"]) == "1"
    assert devices.least_used(["0", "1"], ["7"]) == "0"
    assert devices.least_used([], ["0"]) is None


def test_the_share_of_threads_is_at_least_one() -> None:
    cores = len(os.sched_getaffinity(0))
    assert devices.share_of_threads(1) == cores
    assert devices.share_of_threads(10 * cores) == 1
