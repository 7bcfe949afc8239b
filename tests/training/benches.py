"""A recorder on a segment of a run, for tests of what its threads do."""

from __future__ import annotations

import time
from collections.abc import Callable

from branchtrack.core.builtin_settings import BUILT_IN
from branchtrack.core.records import Segment
from branchtrack.db import runs, segments
from branchtrack.db.schema import open_database
from branchtrack.training.record.recorder import Recorder
from tests.training.homes import Home


class Bench:
    """A recorder on a segment of a run, and what it has written."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.database = open_database(home.config)
        with self.database.transaction() as connection:
            run = runs.create_run(connection, "tiny", actor="test")
            branch = runs.create_branch(connection, run.id, "main")
            made = segments.create(connection, run.id, branch.id, None, 0)
            declared = [setting.as_dict() for setting in BUILT_IN]
            segments.take(
                connection, made.id, actor="t", declared=declared, settings={}, max_steps=9
            )
        self.segment = made.id
        self.recorder = Recorder(self.database, self.segment, 0)
        self.closed = False

    def close(self) -> list[str]:
        """Close the recorder, once."""
        self.closed = True
        return self.recorder.close(lambda: None)

    def points(self, name: str = "loss") -> dict[int, float]:
        """What has been written of a metric."""
        return self.home.points(name, self.segment)

    def row(self) -> Segment:
        """The segment as stored."""
        return self.home.segment()

    def wait(self, met: Callable[[], object]) -> None:
        """Wait until the thread has come to do something, ten seconds at most."""
        deadline = time.monotonic() + 60
        while not met():
            assert time.monotonic() < deadline, "the recorder did not get there"
            time.sleep(0.005)
