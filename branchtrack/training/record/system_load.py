"""The load of the machine while a training runs: CPU, memory and GPUs as series of their own.

A thread of its own looks every few seconds: never the training thread, nor one that writes, as a
driver may hang. What cannot be read is no series, and never an error.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import psutil

from branchtrack.environment_variables import SYSTEM_VARIABLE

logger = logging.getLogger("branchtrack")

#: Percent of all cores; bytes of the process and its children; percent of the machine's memory.
CPU, MEMORY, MEMORY_PERCENT = "system/cpu", "system/memory", "system/memory_percent"
#: Percent, the mean over the GPUs; bytes, the sum over them.
GPU, GPU_MEMORY = "system/gpu", "system/gpu_memory"
#: Seconds between two looks.
SECONDS = 5.0

#: Returns values by name of a series.
Reader = Callable[[], dict[str, float]]


class SystemLoad:
    """Logs the load at the step that training has reached, every `SECONDS`, until it is closed.

    ``step`` returns that step, ``log`` buffers values at one. A step gets one look: while training
    is paused, and before its first update, there is none. It does nothing if the environment says
    so.
    """

    def __init__(
        self,
        step: Callable[[], int],
        log: Callable[[int, Mapping[str, float]], None],
        seconds: float = SECONDS,
    ) -> None:
        self._step, self._log, self._seconds = step, log, seconds
        self._logged = step()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="branchtrack load", daemon=True)
        if os.environ.get(SYSTEM_VARIABLE, "1") not in ("0", "no", "false", "off"):
            self._thread.start()

    def close(self) -> None:
        """End the thread; one that hangs in a driver is not waited for."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(0.1)

    def _look_on(self) -> None:
        readers = [host_reader(), *gpu_readers()]
        while not self._closed.wait(self._seconds):
            step = self._step()
            if step == self._logged:
                continue
            values: dict[str, float] = {}
            for reader in list(readers):
                try:
                    values |= reader()
                except Exception as error:
                    # One that failed once would fail again, and is not worth a line each time.
                    logger.debug("branchtrack reads no load any more: %s", error)
                    readers.remove(reader)
            self._logged = step
            self._log(step, values)


def host_reader() -> Reader:
    """Return what reads CPU and memory; its first percentages begin now."""
    own = psutil.Process()
    psutil.cpu_percent(None)

    def read() -> dict[str, float]:
        resident = 0
        for process in (own, *own.children(recursive=True)):
            # A loader's worker may have ended since it was listed.
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                resident += process.memory_info().rss
        return {
            CPU: float(psutil.cpu_percent(None)),
            MEMORY: float(resident),
            MEMORY_PERCENT: float(psutil.virtual_memory().percent),
        }

    return read


def gpu_readers(nvml: Any = None) -> list[Reader]:
    """Return what reads the GPUs that the process may use; nothing without a driver of NVIDIA's.

    Args:
        nvml: the module `pynvml`, or one like it.
    """
    try:
        nvml = nvml or importlib.import_module("pynvml")
        nvml.nvmlInit()
        handles = _visible(nvml)
    except Exception as error:
        logger.debug("branchtrack records no load of GPUs: %s", error)
        return []
    if not handles:
        return []

    def usage() -> dict[str, float]:
        rates = [float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) for handle in handles]
        return {GPU: sum(rates) / len(rates)}

    def memory() -> dict[str, float]:
        used = [float(nvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in handles]
        return {GPU_MEMORY: sum(used)}

    # Apart: a part of a GPU has its memory, but no usage of its own.
    return [usage, memory]


def _visible(nvml: Any) -> list[Any]:
    """Return the handles of the GPUs that `CUDA_VISIBLE_DEVICES` leaves the process."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    handles = []
    for name in filter(None, (part.strip() for part in named.split(","))):
        if name.startswith("-"):
            break
        by_number = name.isdecimal()
        find = nvml.nvmlDeviceGetHandleByIndex if by_number else nvml.nvmlDeviceGetHandleByUUID
        handles.append(find(int(name) if by_number else name))
    return handles
