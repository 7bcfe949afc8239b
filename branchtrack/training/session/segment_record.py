"""What a session records about its segment and its requests, as jobs of its recorder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection

from branchtrack import control
from branchtrack.core.interventions import awaited_by
from branchtrack.core.records import Segment
from branchtrack.db import requests, segments
from branchtrack.db.engine import Database
from branchtrack.errors import IllegalTransition
from branchtrack.training.record import code, environment
from branchtrack.training.record.code import Reading
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.steer.answers import Answer

#: Seconds that the end of a training waits for git.
_CODE_SECONDS = 5.0


class SegmentRecord:
    """The record of one segment; ``surroundings`` are those that were recorded when it was taken.

    All but `end` return at once.
    """

    def __init__(
        self,
        database: Database,
        segment: Segment,
        recorder: Recorder,
        actor: str,
        surroundings: dict[str, Any],
    ) -> None:
        self._database, self._segment, self._recorder = database, segment, recorder
        self._actor, self._surroundings = actor, surroundings
        self._reading: Reading | None = None
        self._has_code = False

    def record_code(self, reading: Reading) -> None:
        """Record what runs in this process, once it is read; `end` does if that is later."""
        self._reading = reading
        reading.when_over(lambda: self._recorder.jobs.add_if_open(self._write_code))

    def _write_code(self) -> None:
        if not self._has_code:
            with self._database.transaction() as connection:
                self._store_code(connection)
            self._has_code = True

    def _store_code(self, connection: Connection) -> None:
        if self._reading is not None and self._reading.code is not None:
            code.record(connection, self._segment.id, self._reading.code)

    def hold(self, paused: bool, step: int, actor: str) -> None:
        """Record that the loop is held at ``step``, or continues."""

        def job() -> None:
            with self._database.transaction() as connection:
                segments.hold(connection, self._segment.id, paused=paused, step=step, actor=actor)

        self._recorder.do(job)

    def supersede(self, reverted: Sequence[Answer], step: int) -> None:
        """Record changes that others have reverted before any update."""

        def job() -> None:
            with self._database.transaction() as connection:
                for answer in reverted:
                    with suppress(IllegalTransition):
                        requests.move(
                            connection,
                            answer.request.id,
                            "superseded",
                            actor=self._actor,
                            step=step,
                        )

        if reverted:
            self._recorder.after_nodes(job)

    def fail_stops(self, why: str) -> None:
        """Record that the loop does not do what it was asked to stop for."""

        def job() -> None:
            with self._database.transaction() as connection:
                self.end_stops(connection, "failed", why)

        self._recorder.after_nodes(job)

    def end_stops(self, connection: Connection, state: str, error: str | None = None) -> None:
        """Move the requests to stop that the loop has got to their last state."""
        for request in requests.unanswered(connection, self._segment.id):
            if awaited_by(request.kind, request.requested) == "end" and request.state == "applied":
                requests.move(connection, request.id, state, actor=self._actor, error=error)

    def end(
        self, connection: Connection, status: str, error: str | None, *, spare: str | None
    ) -> None:
        """End the segment as ``status``, with what was imported since it began.

        ``spare`` is a request that another process will answer.
        """
        segment_id = self._segment.id
        control.expire_unanswered(
            connection, segment_id, self._actor, "The training process ended first.", spare=spare
        )
        later = environment.with_later_modules(self._surroundings)
        if later != self._surroundings:
            segments.set_environment(connection, segment_id, later)
        if self._reading is not None and not self._has_code:
            self._reading.join(_CODE_SECONDS)
            self._store_code(connection)
        segments.end(connection, segment_id, status, actor=self._actor, error=error)
