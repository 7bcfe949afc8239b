"""Takes the segment that a process trains, and records a new run: at once, or as soon as possible.

The ids of a new run are created before, so that training can begin, log and commit before the
database and the home can be used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from branchtrack import config
from branchtrack.core.builtin_settings import AT_RESUME
from branchtrack.core.capabilities import Capabilities
from branchtrack.core.records import Node, Segment
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.environment_variables import REPLAY_VARIABLE, REQUIRE_VARIABLE
from branchtrack.errors import HomeError, InvalidInput, SchemaError, StorageError
from branchtrack.training.record import replays
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.record.replays import PlannedReplay
from branchtrack.training.session import beginnings, ordinals, refusal
from branchtrack.training.session.beginnings import Beginning
from branchtrack.training.settings import apply, modules
from branchtrack.training.settings.apply import Live
from branchtrack.training.steer import author_actions
from branchtrack.training.steer.execution import Actions


@dataclass(frozen=True)
class NewRun:
    """A run with its first segment; ``create`` writes both to the database, once."""

    database: Database
    segment: Segment
    create: Callable[[], None]

    def recorder(self, step: int, *, is_replay: bool = False) -> Recorder:
        """Return the recorder of the segment, whose first job creates the run.

        Raises:
            StorageError: that cannot be done now, with ``BRANCHTRACK_REQUIRE=1`` or for a replay.
                Otherwise it warns, and tries again until training ends.
        """
        run_recorder = Recorder(self.database, self.segment.id, step, self.create)
        if not run_recorder.wait_until_created() and (is_replay or config.is_required()):
            run_recorder.give_up()
            variable = REPLAY_VARIABLE if is_replay else REQUIRE_VARIABLE
            raise StorageError(
                f"The run cannot be recorded: {run_recorder.trouble}",
                safe="No training was done.",
                fix=f"Without {variable} training begins all the same.",
            )
        return run_recorder


def take_segment(
    database: Database,
    beginning: Beginning,
    step: int,
    *,
    actor: str,
    prepare: Callable[[], None],
    facts: Mapping[str, Any],
    replay: PlannedReplay | None = None,
) -> tuple[Segment, Recorder]:
    """Return the segment that this process trains, taken or planned, and its recorder.

    ``prepare`` opens the home of a new run; ``facts`` are what `segments.take` records. What is to
    be replayed is requested in the same transaction.

    Raises:
        IllegalTransition: another process trains this segment.
        StorageError: as `NewRun.recorder`.
    """

    def take(connection: Connection, segment_id: str) -> Segment:
        segment = segments.take(connection, segment_id, actor=actor, **facts)
        if replay is not None:
            replay.record(connection, segment)
        return segment

    if isinstance(beginning, beginnings.NewRun):
        new = new_run(database, beginning, actor, prepare, take)
        return new.segment, new.recorder(step, is_replay=replay is not None)
    with database.transaction() as connection:
        segment = take(connection, beginning.segment(connection, actor).id)
    beginning.announce()
    return segment, Recorder(database, segment.id, step)


def take_with_replay(
    database: Database, beginning: Beginning, step: int, *, fork: Node | None, **how: Any
) -> tuple[Segment, Recorder]:
    """Do as `take_segment` (``how``), with the changes that this process was started to make again.

    Only its first training takes them; ``fork`` is the node that it resumes.

    Raises:
        SystemExit: they do not fit the training, or cannot be recorded: none would be made.
        IllegalTransition, StorageError: as `take_segment`.
    """
    process = ordinals.this_process()
    if process.has_replayed or not replays.is_requested():
        return take_segment(database, beginning, step, **how)
    process.has_replayed = True
    names = ("declared", "offers", "settings", "max_steps")
    known = {name: how["facts"][name] for name in names}
    training = replace(segments.new("", "", None, step), **known)
    try:
        replay = replays.plan(replays.requested(), training, database, fork)
        taken = take_segment(database, beginning, step, replay=replay, **how)
    except (InvalidInput, HomeError, SchemaError, StorageError) as error:
        refusal.end_process(error)
    replay.announce()
    return taken


def facts_of(live: Live, actions: Actions, *, evaluates: bool) -> dict[str, Any]:
    """Return what can be requested of a training: its settings, actions, modules, evaluation."""
    at_resume = [setting for name, setting in AT_RESUME.items() if name in live.fixed]
    described = {name: author_actions.describe(name, action) for name, action in actions.items()}
    return {
        "declared": [setting.as_dict() for setting in [*apply.declare(live), *at_resume]],
        "offers": Capabilities(described, modules.paths(live.model), evaluates).as_dict(),
    }


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
        beginning.announce()

    return NewRun(database, beginning.planned, create)
