"""What requests do to the loop as a whole at a control point: end it, hold it, go back.

Which function executes a request is `steer.execution`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Protocol

from branchtrack.core.records import Request
from branchtrack.errors import InvalidInput
from branchtrack.training.record import logged_values
from branchtrack.training.record.committer import Point
from branchtrack.training.steer import execution
from branchtrack.training.steer.answers import Answer
from branchtrack.training.steer.execution import Scene
from branchtrack.training.steer.holds import Holds

logger = logging.getLogger("branchtrack")


class Rewinds(Protocol):
    """What orders the branch that a rewind continues in; ``pending`` is the rewind to come."""

    @property
    def pending(self) -> object | None: ...

    def order(self, request: Request) -> dict[str, Any]:
        """Create the branch to continue in; return the answer's facts."""


class LoopControl:
    """Whether the loop should end (``stop_asked``) or is held (``is_paused``), by its requests.

    ``suspends`` says that it ends for a pause.

    ``log`` records the metrics of an evaluation at a step, ``hold`` that the loop was held at a
    step, or continues, and by which actor.
    """

    def __init__(
        self,
        rewinder: Rewinds,
        log: Callable[[int, Mapping[str, Any]], None],
        hold: Callable[[bool, int, str], None],
    ) -> None:
        self.stop_asked = self.suspends = False
        self._rewinder, self._log, self._hold = rewinder, log, hold
        self._holds = Holds()
        #: Who paused the loop, as long as it is recorded as held.
        self._paused_by: str | None = None

    @property
    def is_paused(self) -> bool:
        """Whether a pause holds the loop."""
        return bool(self._holds)

    def is_held(self, step: int) -> bool:
        """Return whether the loop is held at a step; a pause that ended by itself is recorded."""
        if self._paused_by is not None and not self._holds:
            self._continue(step, self._paused_by)
        return self.is_paused

    def execute(
        self, request: Request, point: Point, actions: execution.Actions, *, final: bool
    ) -> Answer:
        """Execute any request; an error is its answer, and never the end of training.

        ``final``: training ends at this step in any case.
        """
        if self._rewinder.pending is not None:
            return Answer(request, "expired", "The branch was just left for another node.")
        scene = Scene(
            point.live,
            point.step,
            actions,
            evaluate=partial(self._evaluate, point),
            hold=partial(self._pause, point.step, final),
            release=partial(self._unpause, point.step),
            stop=self._stop,
            suspend=partial(self._suspend, final),
            rewind=self._rewinder.order,
        )
        return execution.execute(request, scene)

    def evaluate_at_end(self, point: Point, logged: Collection[str]) -> None:
        """Evaluate as a request does, before training ends; an error never keeps it from ending.

        ``logged`` are the metrics that the loop has logged at this step already.
        """
        try:
            metrics = point.evaluate()
        except Exception as error:
            logger.warning(
                "branchtrack: the evaluation at step %d, where training stops, failed: %s: %s",
                point.step,
                type(error).__name__,
                error,
            )
            return
        self._log(point.step, {n: v for n, v in metrics.items() if n not in logged})

    def _evaluate(self, point: Point) -> dict[str, Any]:
        metrics = point.evaluate()
        self._log(point.step, metrics)
        return logged_values.numbers(metrics)[0]

    def _stop(self) -> None:
        self.stop_asked = True

    def _suspend(self, final: bool) -> None:
        self._refuse_at_end(final)
        self.stop_asked = self.suspends = True

    def _refuse_at_end(self, final: bool) -> None:
        if final or self.stop_asked:
            raise InvalidInput("kind", "pause", "nothing", what="Training ends at this step.")

    def _pause(self, step: int, final: bool, request: Request) -> None:
        self._refuse_at_end(final)
        self._holds.begin(request)
        self._paused_by = request.actor
        self._hold(True, step, request.actor)

    def _unpause(self, step: int, request: Request) -> bool:
        self._holds.end(request.requested.get("pause"))
        if not self._holds:
            self._continue(step, request.actor)
        return self.is_paused

    def _continue(self, step: int, actor: str) -> None:
        self._paused_by = None
        self._hold(False, step, actor)
