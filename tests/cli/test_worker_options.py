"""What commands with a worker share."""

from __future__ import annotations

import os
import signal

import pytest

from branchtrack.cli.worker_options import Staff, signals
from branchtrack.errors import InvalidInput


def test_labels_are_read_from_the_option() -> None:
    staff = Staff.of(labels="gpu, big", slots=2, leave_running=True)
    assert staff == Staff(slots=2, labels=["big", "gpu"], leave_running=True)
    with pytest.raises(InvalidInput, match="labels"):
        Staff.of(labels="a b")


def test_the_first_signal_stops_and_the_next_one_hurries() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals() as came:
        os.kill(os.getpid(), signal.SIGTERM)
        assert came.stop.wait(10) and not came.hurry.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert came.hurry.wait(10)
        assert came.received == [signal.SIGTERM, signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) is before


def test_only_the_first_signal_raises() -> None:
    with signals(KeyboardInterrupt) as came:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert came.hurry.wait(10)


def test_in_a_job_the_same_end_may_be_told_by_several() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with signals(in_job=True) as came:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert came.stop.wait(10)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert came.received == [signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM]
        assert not came.hurry.is_set()
    assert signal.getsignal(signal.SIGUSR1) is before
