"""A new run put into the database: at once, or as soon as the database and the home can be used.

Its ids are made before, so that training can begin, and log, and commit, before they are written.
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
    """A run with its first segment; ``create`` puts both into the database, once."""

    database: Database
    segment: Segment
    create: Callable[[], None]

    def recorder(self, step: int) -> Recorder:
        """The recorder of the segment, which first of all has the run created.

        Raises:
            StorageError: that cannot be done now, with ``BRANCHTRACK_REQUIRE=1``. Without it there
                is a warning, and it is tried until training ends.
        """
        run_recorder = Recorder(self.database, self.segment.id, step, self.create)
        if not run_recorder.is_begun() and config.is_required():
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
    """A run that is not recorded yet; ``prepare`` opens the home, ``take`` takes the segment."""

    def create() -> None:
        prepare()
        with database.transaction() as connection:
            segment = beginning.segment(connection, actor)
            take(connection, segment.id)
        beginning.tell()

    return NewRun(database, beginning.planned, create)
