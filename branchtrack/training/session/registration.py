"""Records a new run in the database: at once, or as soon as the database and the home can be used.

Its ids are created before, so that training can begin, log and commit before they are written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from branchtrack import config
from branchtrack.core.records import Segment
from branchtrack.db.engine import Database
from branchtrack.environment_variables import REQUIRE_VARIABLE
from branchtrack.errors import StorageError
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.session import beginnings


@dataclass(frozen=True)
class NewRun:
    """A run with its first segment; ``create`` writes both to the database, once."""

    database: Database
    segment: Segment
    create: Callable[[], None]

    def recorder(self, step: int) -> Recorder:
        """Return the recorder of the segment, whose first job creates the run.

        Raises:
            StorageError: that cannot be done now, with ``BRANCHTRACK_REQUIRE=1``. Otherwise it
                warns, and tries again until training ends.
        """
        run_recorder = Recorder(self.database, self.segment.id, step, self.create)
        if not run_recorder.wait_until_created() and config.is_required():
            run_recorder.give_up()
            raise StorageError(
                f"The run cannot be recorded: {run_recorder.trouble}",
                safe="No training was done.",
                fix=f"Without {REQUIRE_VARIABLE} training begins all the same.",
            )
        return run_recorder


def new_run(
    database: Database,
    beginning: beginnings.NewRun,
    actor: str,
    prepare: Callable[[], None],
    take: Callable[[Connection, str], Any],
) -> NewRun:
    """Return an unrecorded run; ``prepare`` opens the home, ``take`` takes the segment."""

    def create() -> None:
        prepare()
        with database.transaction() as connection:
            segment = beginning.segment(connection, actor)
            take(connection, segment.id)
        beginning.tell()

    return NewRun(database, beginning.planned, create)
