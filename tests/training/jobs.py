"""What child processes do in tests: train, and be killed in the middle of it.

The children are forked from a server that has imported this module, and so torch, once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from unittest import mock

from branchtrack.checkpoints import folder
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Launch
from branchtrack.db import nodes
from branchtrack.errors import BranchtrackError
from branchtrack.training.record import commits
from tests.training import tiny
from tests.training.callbacks import Do
from tests.training.homes import Home

ROOT = Path(__file__).parent.parent.parent
VICTIM: dict[str, Any] = {
    "max_steps": 40,
    "save_steps": 1,
    "eval_strategy": "steps",
    "eval_steps": 4,
}


def context() -> ForkServerContext:
    """A context whose processes start in milliseconds, as fresh as the server was.

    Their hashes of strings are others than here.
    """
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["tests.training.jobs"])
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}):
        forkserver.ensure_running()
    return found


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_pack(path: Path, parts: Any) -> None:
    """Write the first part of a pack, and die."""
    path.write_bytes(bytes(next(iter(parts))))
    die()


#: Where a process dies: (object, name of the function, whether it is called before dying).
FAIL_POINTS: dict[str, tuple[Any, str, bool]] = {
    "within the pack": (folder, "_write", False),
    "before the rename": (os, "replace", False),
    "after the rename": (os, "replace", True),
    "between pack and transaction": (Store, "put", True),
    "within the transaction": (nodes, "commit", True),
    "after the transaction": (commits, "record", True),
}


def deadly(point: str, count: int) -> None:
    """Have this process die at a fail point when it comes there for the ``count``-th time."""
    owner, name, after = FAIL_POINTS[point]
    real, calls = getattr(owner, name), [0]

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == count and name == "_write":
            half_a_pack(*args)
        elif calls[0] == count and not after:
            die()
        found = real(*args, **kwargs)
        if calls[0] == count:
            die()
        return found

    setattr(owner, name, wrapper)


def pester(home: Home, run: str) -> None:
    """Ask a training for something new as often as it takes, until it is gone."""
    kinds: list[dict[str, Any]] = [
        {"kind": "set", "values": {"lr": 1e-3}},
        {"kind": "checkpoint"},
        {"kind": "set", "values": {"weight_decay": 0.1}},
        {"kind": "evaluate"},
    ]
    turn = 0
    while True:
        with suppress(BranchtrackError):
            home.ask(branch=f"{run}/main", **kinds[turn % len(kinds)])
        turn += 1
        threading.Event().wait(0.02)


def victim(folder: Path, run: str, pestered: bool, point: str | None, begun: Any) -> None:
    """Train a run with a node at every step, until this process is killed or kills itself."""
    _silently()
    home = Home(folder)
    if point is not None:
        deadly(point, 6)
    start = Do("on_step_begin", 0, lambda **_: begun.set())
    trainer = tiny.trainer(
        tiny.BranchingTrainer, folder, callbacks=lambda: [start], run_name=run, **VICTIM
    )
    if pestered:
        threading.Thread(target=pester, args=(home, run), daemon=True).start()
    home.run(trainer)


def resume(folder: Path, launch: Launch, told: Any, **how: Any) -> None:
    """Carry out a launch; ``told`` gets the number of updates made, or the error's text."""
    _silently()
    updates: list[int] = []
    count = Do("on_step_end", None, lambda **_: updates.append(1))
    try:
        Home(folder).train(launch, callbacks=lambda: [count], **how)
        told.put((len(updates), None))
    except BranchtrackError as error:
        told.put((len(updates), str(error)))


def _silently() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
