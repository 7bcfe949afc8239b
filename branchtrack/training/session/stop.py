"""The step at which a process was to stop, and whether the loop has evaluated there by itself."""

from __future__ import annotations

from collections.abc import Iterable


class Stop:
    """``step`` is where training stops, None for nowhere; ``evaluated_at`` the step at which the
    loop has evaluated last.
    """

    def __init__(self, step: int | None) -> None:
        self.step = self._ordered = step
        self.evaluated_at: int | None = None
        self._logged: set[str] = set()

    def before(self, last: int | None) -> int | None:
        """Return the step at which training ends, if it would end at ``last`` without a stop."""
        ends = [step for step in (self._ordered, last) if step is not None]
        return min(ends, default=None)

    def is_reached(self, step: int) -> bool:
        """Return whether training stops at ``step``."""
        return self.step is not None and step >= self.step

    def note(self, step: int, names: Iterable[str]) -> None:
        """Note the names of what is logged at a step."""
        if self.step == step:
            self._logged.update(names)

    def logged(self, step: int) -> frozenset[str]:
        """Return the names of what was logged at ``step``, where training stops."""
        return frozenset(self._logged if self.step == step else ())

    def lacks_evaluation(self, step: int) -> bool:
        """Return whether the loop has not evaluated at ``step`` by itself."""
        return self.evaluated_at != step
