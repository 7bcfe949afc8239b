"""The load of the machine, looked at while a training runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.environment_variables import SYSTEM_VARIABLE
from branchtrack.training.record import system_load
from branchtrack.training.record.system_load import SystemLoad


class Training:
    """A training's step, and what was logged at which."""

    def __init__(self) -> None:
        self.step = 7
        self.logged: list[tuple[int, Mapping[str, float]]] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.logged.append((step, values))

    def load(self) -> SystemLoad:
        return SystemLoad(lambda: self.step, self.log, seconds=0.01)


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SYSTEM_VARIABLE, raising=False)


def test_each_step_that_is_met_gets_one_look() -> None:
    training = Training()
    load = training.load()
    time.sleep(0.1)
    assert training.logged == []
    training.step = 8
    wait_for(lambda: training.logged)
    time.sleep(0.1)
    load.close()
    ((step, values),) = training.logged
    assert step == 8
    assert 0 <= values["system/cpu"] <= 100 and 0 < values["system/memory_percent"] <= 100
    assert values["system/memory"] > 10_000_000


def test_the_environment_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SYSTEM_VARIABLE, "0")
    training = Training()
    load = training.load()
    training.step = 8
    time.sleep(0.1)
    load.close()
    assert training.logged == []


def test_a_reader_that_fails_is_left_out_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> dict[str, float]:
        raise OSError("no /proc")

    monkeypatch.setattr(system_load, "host_reader", lambda: broken)
    monkeypatch.setattr(system_load, "gpu_readers", lambda: [lambda: {"system/gpu": 3.0}])
    training = Training()
    load = training.load()
    training.step = 8
    wait_for(lambda: training.logged)
    load.close()
    assert training.logged[0] == (8, {"system/gpu": 3.0})


class Driver:
    """As `pynvml`: three GPUs, of which the last has no usage."""

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, name: str) -> int:
        assert name == "MIG-1"
        return 2

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        if handle == 2:
            raise RuntimeError("not supported")
        return SimpleNamespace(gpu=(10, 50)[handle])

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=(1000, 2000, 400)[handle])


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, {"system/gpu": 30.0, "system/gpu_memory": 3000.0}),
        ("1", {"system/gpu": 50.0, "system/gpu_memory": 2000.0}),
        ("MIG-1", {"system/gpu_memory": 400.0}),
        ("-1", {}),
        ("", {}),
    ],
)
def test_gpus_are_those_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: dict[str, float]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    values: dict[str, float] = {}
    for reader in system_load.gpu_readers(Driver()):
        try:
            values |= reader()
        except RuntimeError:
            continue
    assert values == expected


def test_a_machine_without_a_driver_has_no_gpus() -> None:
    class Missing(Driver):
        def nvmlInit(self) -> None:
            raise OSError("libnvidia-ml.so.1 is not there")

    assert system_load.gpu_readers(Missing()) == []
