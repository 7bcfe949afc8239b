"""Callbacks with which tests look into a training, and reach into it at a chosen moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback


class Spy(TrainerCallback):
    """Keeps the groups that the optimizer's own ``step`` was called with, update by update."""

    def __init__(self) -> None:
        self.groups: list[list[dict[str, Any]]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        kwargs["optimizer"].optimizer.register_step_pre_hook(self._keep)

    def _keep(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self.groups.append(
            [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        )

    @property
    def rates(self) -> list[list[float]]:
        """The groups' learning rates, update by update."""
        return [[group["lr"] for group in groups] for groups in self.groups]


class At(TrainerCallback):
    """Does something in another thread just before update ``step`` + 1.

    It is answered at the control point after that update: training waits until the process has
    seen ``count`` requests.
    """

    def __init__(self, step: int, ask: Callable[[], object], count: int = 1) -> None:
        self.step, self.ask, self.count = step, ask, count
        self.trainer: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step != self.step:
            return
        thread = threading.Thread(target=self.ask)
        thread.start()
        thread.join()
        deadline = time.monotonic() + 60
        recorder = self.trainer._bt_session.recorder
        while len(recorder.inbox.pending) < self.count and time.monotonic() < deadline:
            time.sleep(0.002)


class Do(TrainerCallback):
    """Does something at an event of one step: ``Do("on_step_end", 3, work)``."""

    def __init__(self, event: str, step: int | None, work: Callable[..., object]) -> None:
        self.step, self.work = step, work
        setattr(self, event, self._act)

    def _act(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.step in (None, state.global_step):
            self.work(control=control, **kwargs)
