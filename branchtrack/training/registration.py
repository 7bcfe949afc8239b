"""A new run put into the database: at once, or as soon as the database and the home can be used.

Its ids are made before, so that training can begin, and log, and commit, before they are written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection

from branchtrack import config
from branchtrack.core.records import Segment
from branchtrack.db.engine import Database
from branchtrack.errors import StorageError
from branchtrack.training import beginnings
from branchtrack.training.recorder import Recorder


def open_for(settings: Config, *, at_once: bool) -> tuple[Database, Callable[[], None]]:
    """The database of a home, and what has to be called before it is used.

    Training is not to begin without it ``at_once``, nor with ``BRANCHTRACK_REQUIRE=1``.

    Raises:
        DatabaseUnreadable: its URL means nothing. HomeError, SchemaError, StorageError: it cannot
            be opened now, where training is not to begin without it.
    """
    if at_once or config.is_required():
        return schema.open_database(settings, create=True), lambda: None
    database = Database(settings.database_url)
    prepare = partial(schema.prepare, database, settings, create=True)
    try:
        prepare()
    except (HomeError, SchemaError, StorageError):
        # Whoever puts the run into the database says so, and tries again.
        return database, prepare
    return database, lambda: None


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
        made = Recorder(self.database, self.segment.id, step, self.create)
        if not made.is_begun() and config.is_required():
            made.give_up()
            raise StorageError(
                f"The run cannot be recorded: {made.trouble}", safe="No training was done.",
                fix=f"Without {config.REQUIRE_VARIABLE} training begins all the same.",
            )  # fmt: skip
        return made


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
