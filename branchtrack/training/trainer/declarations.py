"""What a script declares to a branching Trainer before it trains, and what it says while it does.

That is values, objects and actions, and alerts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from branchtrack.errors import InvalidInput
from branchtrack.training.attributes.values import has_state
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.settings.author import Values
from branchtrack.training.steer import author_actions

logger = logging.getLogger("branchtrack")


class Declarations:
    """The part of `mixin.BranchTrackMixin` that a script calls before ``train()``.

    ``_bt_values`` are the values that it declared, which are ``settings`` as well, unless the
    Trainer class has an attribute of that name; ``_bt_tracked`` and ``_bt_actions`` its objects
    and functions by name.
    """

    _bt_session: TrainingSession | None
    state: Any

    def _bt_begin_declarations(self) -> None:
        """Begin with nothing declared, once the Trainer has its own attributes."""
        self._bt_values = Values({})
        if not hasattr(self, "settings"):
            self.settings = self._bt_values
        self._bt_tracked: dict[str, Any] = {}
        self._bt_actions: dict[str, Callable[..., Any]] = {}

    def declare(self, **values: Any) -> None:
        """Declare values of the script's own that can be changed during training.

        Each is plain or made by `branchtrack.setting`, and is read as ``self.settings[name]``, for
        instance in ``compute_loss``: a change that no update reads is reported as not in force.

        Raises:
            InvalidInput: a name or a value that cannot be used, or training has begun.
        """
        if self._bt_session is not None:
            raise InvalidInput("settings", list(values), "declare(...) before train()")
        if self.settings is not self._bt_values:
            raise InvalidInput(
                "settings",
                list(values),
                "a Trainer class that has no attribute `settings`",
                what="Declared values are read as `self.settings[name]`, and this class has an "
                "attribute of that name.",
            )
        for name, value in values.items():
            self._bt_values.add(name, value)

    def track(self, **objects: Any) -> None:
        """Store in each node the state of objects that are not part of the model or optimizer.

        Each is a tensor, a random generator, or has ``state_dict`` and ``load_state_dict``: an
        averaged teacher, class weights that change, another optimizer. Attributes of the Trainer
        and of its callbacks that change during training are found without it.

        Raises:
            InvalidInput: something else, or training has begun.
        """
        if self._bt_session is not None:
            raise InvalidInput("track", list(objects), "track(...) before train()")
        for name, value in objects.items():
            if not has_state(value):
                raise InvalidInput(
                    name,
                    value,
                    "a tensor, a random generator, or an object with state_dict and "
                    "load_state_dict",
                )
            self._bt_tracked[name] = value

    def add_action(self, name: str, function: Callable[..., Any]) -> None:
        """Accept requests to the run that call ``function``, before it trains.

        Its parameters are typed by their annotations; see `steer.author_actions`.

        Raises:
            InvalidInput: it is not a function with such parameters.
        """
        author_actions.describe(name, function)
        self._bt_actions[name] = function

    def alert(
        self,
        text: str,
        level: str = "info",
        *,
        metric: str | None = None,
        value: float | None = None,
    ) -> None:
        """Record an alert at the current update; ``level``: info, warn or error."""
        if self._bt_session is None:
            logger.warning("branchtrack: no training is under way; the alert is not recorded.")
            return
        self._bt_session.alert(self.state.global_step, text, level, metric, value)
