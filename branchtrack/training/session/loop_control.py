"""Requests about the loop as a whole, carried out at a control point: end it, hold it, go back.

Changes to live objects are `steer.execution`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from branchtrack.core.records import Request
from branchtrack.errors import InvalidInput
from branchtrack.training.record import logged_values
from branchtrack.training.record.committer import Point
from branchtrack.training.session.rewind import Rewinder
from branchtrack.training.steer import execution
from branchtrack.training.steer.answers import Answer


class LoopControl:
    """Whether the loop should end (``stop_asked``) or is held (``is_paused``), by its requests.

    ``log`` records the metrics of an evaluation at a step, ``hold`` that the loop was held at a
    step, or continues, and by which actor.
    """

    def __init__(
        self,
        rewinder: Rewinder,
        log: Callable[[int, Mapping[str, Any]], None],
        hold: Callable[[bool, int, str], None],
    ) -> None:
        self.stop_asked = self.is_paused = False
        self._rewinder, self._log, self._hold = rewinder, log, hold

    def carry_out(
        self, request: Request, point: Point, actions: execution.Actions, *, final: bool
    ) -> Answer:
        """Carry out any request; an error is its answer, and never the end of training.

        ``final``: training ends at this step in any case.
        """
        if self._rewinder.pending is not None:
            return Answer(request, "expired", "The branch was just left for another node.")
        answer = execution.carry_out(request, point.live, point.step, actions)
        if answer is not None:
            return answer
        answer = Answer(request, "done")
        try:
            if request.kind == "evaluate":
                metrics = point.evaluate()
                answer.result = {"metrics": logged_values.numbers(metrics)[0]}
                self._log(point.step, metrics)
            elif request.kind == "stop":
                self._stop(answer)
            elif request.kind in ("pause", "unpause"):
                self._pause(request, point.step, final=final)
            elif request.kind == "rewind":
                answer.result = self._rewinder.order(request)
                self._stop(answer)
        except Exception as error:
            execution.fail(answer, error)
        return answer

    def _stop(self, answer: Answer) -> None:
        # Done when training has ended: a loop might continue.
        self.stop_asked, answer.state = True, "applied"

    def _pause(self, request: Request, step: int, *, final: bool) -> None:
        paused = request.kind == "pause"
        if paused and (final or self.stop_asked):
            raise InvalidInput("kind", "pause", "nothing", what="Training ends at this step.")
        self.is_paused = paused
        self._hold(paused, step, request.actor)
