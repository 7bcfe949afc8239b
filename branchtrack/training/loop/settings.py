"""The step at which a plain loop ends and how often it saves, changed while it runs.

It knows no session and no request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from branchtrack.core import overrides
from branchtrack.core.builtin_settings import MAX_STEPS, SAVE_STEPS, at_once
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput
from branchtrack.training.settings import schedule_length
from branchtrack.training.settings.live import Live


class LoopLimits:
    """The `live.LoopSettings` of a plain loop, which reads its attributes.

    ``step`` is the number of updates so far; ``max_steps`` and ``save_steps`` are None if the loop
    does not have them.
    """

    def __init__(self, step: int, max_steps: int | None, save_steps: int | None) -> None:
        self.step, self.max_steps, self.save_steps = step, max_steps, save_steps

    @property
    def declared(self) -> dict[str, Setting]:
        """Return those that the loop has, by name."""
        settings = (
            setting for setting in (MAX_STEPS, SAVE_STEPS) if self.read(setting.name) is not None
        )
        return {setting.name: at_once(setting) for setting in settings}

    @property
    def is_over(self) -> bool:
        """Whether the last update has been made."""
        return self.max_steps is not None and self.step >= self.max_steps

    @property
    def saves(self) -> bool:
        """Whether a checkpoint is due at this step."""
        return self.save_steps is not None and self.step % self.save_steps == 0

    def read(self, name: str) -> Any:
        """Return a setting's value, as the loop compares its step with it."""
        return {MAX_STEPS.name: self.max_steps, SAVE_STEPS.name: self.save_steps}[name]

    def used(self) -> dict[str, Any]:
        """Return nothing: these settings are not read anywhere else."""
        return {}

    def implied(self, live: Live, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return nothing: no setting follows from these."""
        return {}

    def write(self, live: Live, values: Mapping[str, Any]) -> None:
        """Change them together.

        Raises:
            InvalidInput: the loop does not have it, or has reached that step already.
        """
        declared = self.declared
        for name, value in values.items():
            if name not in declared:
                raise InvalidInput(name, value, ", ".join(declared) or "none of the loop's")
        if MAX_STEPS.name in values:
            last = values[MAX_STEPS.name]
            if self.is_over:
                raise overrides.too_late(self.step, last)
            overrides.check_length(self.step, {MAX_STEPS.name: self.max_steps}, values)
            schedule_length.check(
                live,
                self.step,
                last,
                each_update=False,
                before=self.max_steps,
                way="a resume with scheduler=script and a longer schedule in the script",
            )
            self.max_steps = last
        self.save_steps = values.get(SAVE_STEPS.name, self.save_steps)

    def kept(self, live: Live) -> Callable[[], None]:
        """Keep them; calling the result restores them."""
        held = self.max_steps, self.save_steps

        def put_back() -> None:
            self.max_steps, self.save_steps = held

        return put_back
