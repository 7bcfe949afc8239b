"""What the updates of a plain loop use of its settings, read at the optimizers' own steps.

Hooks read only while something is expected; otherwise they test a flag. A setting that the loop's
author declared counts as used with the value that the loop has read. It knows no request.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.settings import apply
from branchtrack.training.settings.live import Live
from branchtrack.training.steer.answers import Expectation

logger = logging.getLogger("branchtrack")

#: Control points to wait for an optimizer that takes no part in every update.
_PATIENCE = 1000


class Effects:
    """Reads what the next step of each optimizer uses; ``moved`` is true once one has stepped.

    ``live`` are the loop's objects; hooks stay on their optimizers until `close`.
    """

    def __init__(self, live: Live, session: TrainingSession) -> None:
        self.moved = False
        self._live, self._session = live, session
        self._readings: list[tuple[str, dict[str, Any]]] = []
        self._expected: Expectation | None = None
        self._waited = 0
        self._within: str | None = None
        self._hooks = []
        for name, optimizer_objects in live.parts.items():
            step = optimizer_objects.optimizer
            self._hooks.append(step.register_step_pre_hook(partial(self._before, name)))
            self._hooks.append(step.register_step_post_hook(partial(self._after, name)))

    def close(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()

    def expect(self) -> None:
        """Discard earlier readings: they do not apply to what is expected from here on."""
        if self._session.expecting is not self._expected:
            self._expected, self._waited = self._session.expecting, 0
            self._readings.clear()
            if self._live.values is not None:
                self._live.values.take_read()

    def settle(self, step: int) -> None:
        """Report what update ``step`` made of its expectations, if it was made."""
        expected = self._expected
        if expected is None or not self._readings:
            return
        self._waited += 1
        stepped = {name for name, _ in self._readings}
        changed = self._changed(expected)
        missed = {name for name in changed if self._optimizer_of(name) not in {None, *stepped}}
        if missed and self._waited < _PATIENCE:
            return
        values = self._live.values
        read = {} if values is None else values.take_read()
        unused = set(values or ()) - read.keys()
        unused |= apply.unused(self._live)
        unused |= {n for n in expected.settings if self._optimizer_of(n) not in {None, *stepped}}
        # Nothing to report on what was neither changed nor used.
        expected.settings = {
            n: v for n, v in expected.settings.items() if n not in unused or n in changed
        }
        readings, self._expected = self._merged(read), None
        self._readings = []
        self._session.settle(step, readings, self._live)

    def _changed(self, expected: Expectation) -> set[str]:
        names = {name for answer in expected.answers for name in answer.settings}
        base = self._session.base
        return names | (set(base.overrides) if base is not None and expected.restored else set())

    def _optimizer_of(self, name: str) -> str | None:
        """Return the optimizer that has a setting; None for one of the model or the loop."""
        if self._live.values is not None and name in self._live.values:
            return None
        prefix, _dot, _own = name.rpartition(".")
        return prefix if self._live.is_several and prefix in self._live.optimizer else None

    def _before(
        self, name: str, _optimizer: object, args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> None:
        if self._session.witness is not None:
            given = [*args, keywords.get("closure")]
            self._session.witness.before_step(closure=any(map(callable, given)))
        if self._expected is not None and all(name != other for other, _ in self._readings):
            self._read(name, gradients=True)
            self._session.probe.before(self._live, name)
            self._within = name

    def _after(self, name: str, *_: Any) -> None:
        self.moved = True
        if self._within == name:
            # An optimizer may change its settings within its own step.
            self._read(name, gradients=False)
            self._session.probe.after(self._live, name)
            self._within = None

    def _read(self, name: str, *, gradients: bool) -> None:
        try:
            reading = apply.used(self._live) if gradients else apply.in_force(self._live)
        except Exception:
            # Reading is for the record; no update may suffer from it.
            logger.warning("branchtrack could not read what an update uses", exc_info=True)
            return
        self._readings.append((name, reading))

    def _merged(self, read: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return every reading, its own optimizer's part with the newest of the others."""
        several = self._live.is_several
        declared = set(self._live.values or ())
        whole: dict[str, Any] = {**self._live.fixed, **read}
        groups: dict[str, Any] = {}
        readings = []
        for name, reading in self._readings:
            own_settings = {
                key: value
                for key, value in reading.items()
                if key not in declared and self._is_of(name, key)
            }
            if several:
                # Each sees gradients of the others that are not meant for it.
                own_settings.pop("grad_norm", None)
            groups |= {name: reading["groups"][name]}
            whole |= own_settings
            readings.append({**own_settings, "groups": {name: reading["groups"][name]}})
        return [{**whole, **entry, "groups": {**groups, **entry["groups"]}} for entry in readings]

    def _is_of(self, name: str, key: str) -> bool:
        prefix, _dot, _own = key.rpartition(".")
        others = self._live.optimizer if self._live.is_several else ()
        return key != "groups" and (prefix == name or prefix not in others)
