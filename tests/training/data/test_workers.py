"""Only a worker of a loader lives on through signals, and it ends with its parent's."""

from __future__ import annotations

import os
import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.training.data import workers


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that are started, none of which runs."""
    started: list[str] = []
    monkeypatch.setattr(workers, "_outlives", False)
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self.name))
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *_: None)
    return started


def test_the_training_process_itself_obeys_signals(threads: list[str]) -> None:
    workers.outlive_signals()
    assert threads == []


def test_a_worker_begins_to_outlive_signals_once(
    threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "get_worker_info", object)
    workers.outlive_signals()
    workers.outlive_signals()
    assert threads == ["branchtrack signals"]


def test_a_worker_ends_where_its_parent_sent_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    senders = iter([1, 2, os.getppid()])
    received: list[Any] = []

    def receive(signals: Any) -> Any:
        received.append(signals)
        return SimpleNamespace(si_pid=next(senders))

    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(signal, "sigwaitinfo", receive)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(SystemExit) as caught:
        workers._obey_parent()
    assert caught.value.code == 0 and len(received) == 3
    assert signal.SIGTERM in received[0]
