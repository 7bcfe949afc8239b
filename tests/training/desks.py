"""A committer at work on a model without a Trainer around it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import torch

from branchtrack.core.builtin_settings import BUILT_IN
from branchtrack.core.records import Change, Node, Request, Segment
from branchtrack.db import runs, segments
from branchtrack.db.schema import open_database
from branchtrack.training.record.committer import Committer, Point
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.settings.live import Live
from branchtrack.training.steer.answers import Answer
from tests.training.homes import Home


class Desk:
    """A run ``tiny`` of one model with AdamW, whose updates and commits a test makes by itself."""

    def __init__(self, home: Home, model: torch.nn.Module) -> None:
        self.home, self.model = home, model
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-3)
        self.live = Live(model, self.optimizer, None, SimpleNamespace(max_grad_norm=1.0), [True])
        self.database = open_database(home.config)
        self.segment = self._segment()
        self.recorder = Recorder(self.database, self.segment.id, 0)
        self.committer = Committer(
            self.database, home.store, self.recorder, self.segment, None, "test"
        )
        self.closed = False

    def update(self) -> None:
        """One step of the optimizer, the same gradient everywhere."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.full_like(parameter, 1e-2)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def commit(
        self, step: int, *answers: Answer, kind: str = "checkpoint", wait: bool = True, **lr: float
    ) -> list[Node]:
        """Commit the state; ``before`` and ``after`` are those of a change of ``lr``."""
        changes = (Change("lr", lr["before"], lr["after"]),) if lr else ()
        self.recorder.step = step
        point = Point(self.live, step, 0.0, dict, dict)
        made = self.committer.commit(point, kind, {}, changes, answers)
        if wait:
            assert self.committer.free.wait(60)
        return made

    def asked(self, kind: str = "checkpoint", **payload: Any) -> Request:
        """A request that a person has made and the process has taken."""
        return self.home.ask(kind, **payload)

    def close(self) -> list[str]:
        """End the recorder's threads, once; what could not be written."""
        if self.closed:
            return []
        self.closed = True
        lost = self.recorder.close(lambda: None)
        self.database.close()
        return lost

    def packs(self) -> int:
        """Bytes of all packs on disk."""
        folder = self.home.config.store / "packs"
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def on_disk(self) -> int:
        """Bytes of all packs and of the database, once its log is written back."""
        path = self.home.config.home / "branchtrack.db"
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.packs() + path.stat().st_size

    def _segment(self) -> Segment:
        with self.database.transaction() as connection:
            run = runs.create_run(connection, "tiny", actor="test")
            branch = runs.create_branch(connection, run.id, "main")
            made = segments.create(connection, run.id, branch.id, None, 0)
            declared = [setting.as_dict() for setting in BUILT_IN]
            return segments.take(
                connection, made.id, actor="t", declared=declared, settings={}, max_steps=99
            )
