"""Trainings in processes of their own that get a signal at a random moment, and are gone on with.

``BRANCHTRACK_TEST_SIGNALS=100`` sends so many; the suite sends a few.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import signal
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from branchtrack.training.session import signals
from tests.training import jobs, loops
from tests.training.callbacks import Do
from tests.training.homes import Home

COUNT = int(os.environ.get("BRANCHTRACK_TEST_SIGNALS", "4"))
#: Seconds for each update at least, so that no machine is too quick for a signal in the middle.
PAUSE = 0.02
LATEST = 0.5
NUMBERS = {signal.SIGTERM: 143, signal.SIGUSR1: 138}
TRAINER: dict[str, Any] = {
    "max_steps": 40,
    "save_steps": 9,
    "eval_strategy": "steps",
    "eval_steps": 5,
}
LOOP: dict[str, Any] = {"max_steps": 40, "save_steps": 9, "evaluated": True}


def train_trainer(home: Home, launch: Any = None, begun: Any = None) -> None:
    """A Trainer that evaluates and saves now and then."""
    calls = []
    if begun is not None:
        calls.append(Do("on_train_begin", None, lambda **_: begun.set()))
        calls.append(Do("on_step_begin", None, lambda **_: time.sleep(PAUSE)))
    home.train(launch, callbacks=lambda: calls, **TRAINER)


def train_loop(home: Home, launch: Any = None, begun: Any = None) -> None:
    """A plain loop that evaluates and saves now and then."""

    def at(run: Any, _: Any) -> None:
        if begun is not None:
            begun.set()
            time.sleep(PAUSE)

    loops.train(home, launch, at=at, **LOOP)


KINDS = {"trainer": train_trainer, "loop": train_loop}


def victim(folder: Path, kind: str, begun: Any) -> None:
    """Train until a signal ends it."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process lives
    KINDS[kind](Home(folder), begun=begun)


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    """The server that processes are forked from."""
    return jobs.context()


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The state that each kind of training ends in undisturbed."""
    found = {}
    for kind, train in KINDS.items():
        home = Home(tmp_path_factory.mktemp(kind))
        train(home)
        found[kind] = home.final().state_digest
        home.close()
    return found


@pytest.mark.timeout(60 + 60 * COUNT)
@pytest.mark.parametrize("kind", KINDS)
def test_every_signal_makes_a_node_where_it_came_and_the_resume_is_exact(
    kind: str, server: ForkServerContext, digests: dict[str, str], tmp_path: Path
) -> None:
    chance, steps, waits = random.Random(len(kind)), [], []
    for number in range((COUNT + 1) // 2):
        home, begun = Home(tmp_path / str(number)), server.Event()
        process = server.Process(target=victim, args=(home.folder, kind, begun))
        process.start()
        assert begun.wait(120)
        time.sleep(chance.uniform(0.0, LATEST))
        sent, code = chance.choice(list(NUMBERS.items()))
        started = time.monotonic()
        os.kill(process.pid or 0, sent)
        process.join(120)
        waits.append(time.monotonic() - started)
        steps.append(check(home, process.exitcode, code, sent.name))
        if home.segment().status == "stopped":
            launch = home.order(home.nodes()[-1])
            KINDS[kind](home, launch)
            assert home.final(launch).state_digest == digests[kind]
        home.close()
    cut = sum(step is not None for step in steps)
    print(f"{kind}: {len(steps)} signals, {cut} before the end, slowest exit {max(waits):.2f} s")
    assert cut > 0


def check(home: Home, code: int | None, expected: int, name: str) -> int | None:
    """The step that the signal came at; None where training had come to its end by then."""
    segment, node = home.segment(), home.nodes()[-1]
    assert code == expected, (code, segment.error)
    assert home.chain_break() is None
    if segment.status == "finished":
        assert node.kind == "final"
        return None
    named = re.fullmatch(rf"{name} at step (\d+)", segment.error or "")
    assert segment.status == "stopped" and named, (segment.status, segment.error)
    step = int(named[1])
    assert node.kind == "final" and node.step in (step, step + 1), (node.step, step)
    assert list(home.points("loss", segment.id)) == list(range(1, node.step + 1))
    assert [event.reason for event in home.events("signal")] == [segment.error]
    return step


def hanging(folder: Path) -> None:
    """Get a signal in update 5, and hang where no handler of Python's ever runs."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process lives
    signals.LIMIT_SECONDS, signals.GRACE_SECONDS = 0.3, 0.5
    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)

    def hang(**_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _time in range(2):
            library.pthread_mutex_lock(mutex)

    Home(folder).train(callbacks=lambda: [Do("on_step_begin", 4, hang)], save_steps=3)


def test_a_process_that_hangs_for_good_is_ended_and_says_so(
    server: ForkServerContext, home: Home
) -> None:
    process = server.Process(target=hanging, args=(home.folder,))
    process.start()
    process.join(120)
    assert process.exitcode == 143
    segment = home.segment()
    assert (segment.status, segment.error) == ("stopped", "SIGTERM at step 4: it hung for 0.8 s")
    assert [node.step for node in home.nodes()] == [0, 3] and home.chain_break() is None


def test_the_trainings_last_longer_than_any_signal_takes_to_come() -> None:
    assert min(TRAINER["max_steps"], LOOP["max_steps"]) * PAUSE > 1.2 * LATEST


def test_a_sigterm_that_a_scheduler_and_a_worker_both_send_is_one(home: Home) -> None:
    def at(run: Any, _: Any) -> None:
        if run.update == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    # A test before this one may have left a handler, which would decide.
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit):
            loops.train(home, at=at, save_steps=100)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
    assert (home.segment().status, home.segment().error) == ("stopped", "SIGTERM at step 3")
    assert home.nodes()[-1].step in (3, 4)
