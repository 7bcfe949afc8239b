"""How much memory commits take, beyond the state that training itself holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import torch

from branchtrack import config
from branchtrack.checkpoints.location import open_store
from branchtrack.core.records import Segment
from branchtrack.db import runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.training.record.committer import Committer, Point
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.settings.live import Live

_PAGE = os.sysconf("SC_PAGE_SIZE")


def growth(folder: Path, model: torch.nn.Module) -> float:
    """The most that this process grows by during three commits, in bytes of the state."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    _update(optimizer)
    held = [*model.state_dict().values(), *model.buffers()]
    held += [value for entry in optimizer.state.values() for value in entry.values()]
    state = sum(tensor.nbytes for tensor in {tensor.data_ptr(): tensor for tensor in held}.values())
    live = Live(model, optimizer, None, SimpleNamespace(max_grad_norm=1.0), [True])
    settings = config.load(folder / "memory")
    database = open_database(settings, create=True)
    segment = _segment(database)
    recorder = Recorder(database, segment.id, 0)
    committer = Committer(database, open_store(settings.store), recorder, segment, None, "bench")
    before, most = _resident(), 0
    for step in range(3):
        with _peak() as found:
            committer.prepare(live)
            made = committer.commit(Point(live, step, 0.0, dict, dict), "checkpoint", {})
            committer.free.wait()
        assert made
        most = max(most, found[0])
        _update(optimizer)
    recorder.close(lambda: None)
    database.close()
    return (most - before) / state


def _update(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    optimizer.zero_grad()


def _segment(database: Database) -> Segment:
    with database.transaction() as connection:
        run = runs.create_run(connection, "memory", actor="bench")
        branch = runs.create_branch(connection, run.id, "main")
        made = segments.create(connection, run.id, branch.id, None, 0)
        return segments.take(
            connection, made.id, actor="bench", declared=[], settings={}, max_steps=3
        )


@contextmanager
def _peak() -> Iterator[list[int]]:
    """The most bytes that this process has had in memory, once the block is over."""
    ended, found = threading.Event(), [_resident()]

    def look() -> None:
        while not ended.wait(0.002):
            found[0] = max(found[0], _resident())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
