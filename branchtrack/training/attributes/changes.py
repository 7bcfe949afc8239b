"""State that objects keep in attributes of their own, found by comparing it with how it began.

A teacher that follows the model, class weights that change, a counter, a buffer of samples: any
attribute of a Trainer, of its callbacks or of a module that has changed since training began
belongs to the state. This module knows no session and no node.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from branchtrack.errors import CheckpointMismatch
from branchtrack.training.attributes.slots import Slot, Slots, is_iterator, is_own, numbers_of
from branchtrack.training.attributes.values import (
    PLAIN,
    brief,
    can_store,
    give,
    is_outline,
    signature,
    state_of,
)

logger = logging.getLogger("branchtrack")

#: The kind of a stored value that only records that there was more.
_OMITTED = "omitted"
#: Whole numbers beyond it are times in nanoseconds, addresses, or random.
_COUNTED = 2**40
#: When this process began, by the clocks that scripts read.
_BEGAN = (time.time(), time.perf_counter(), time.monotonic())


class Attributes:
    """The attributes of some objects that change during training.

    ``owners``, ``model`` and ``ignored`` are those of `Slots`. What is in ``tracked`` is state
    whether it changes or not. ``ahead`` are objects that are used before the update that they are
    used for, such as datasets: only their numbers that change are named, and nothing is stored. An
    error in an object that is inspected never affects training.
    """

    def __init__(
        self,
        owners: Mapping[str, Any],
        model: torch.nn.Module,
        ignored: Mapping[str, frozenset[str]] | None = None,
        tracked: Mapping[str, Any] | None = None,
        ahead: Mapping[str, Any] | None = None,
    ) -> None:
        self._tracked, self._ahead = dict(tracked or {}), dict(ahead or {})
        self._ignored = dict(ignored or {})
        excluded = (*self._tracked.values(), *self._ahead.values())
        self._slots = Slots(owners, model, self._ignored, excluded)
        self._changed: set[str] = set()
        self._omitted: set[str] = set()
        slots = [*self._slots.read(), *self._numbers_ahead()]
        self._began = {slot.path: signature(slot.value, versions=True) for slot in slots}
        #: Values that cannot change: an attribute that still has the same object has not changed.
        self._constants = {slot.path: slot.value for slot in slots if type(slot.value) in PLAIN}

    def state(self) -> dict[str, Any]:
        """Return what has changed since training began, and all that is tracked, by path.

        What is too large, or of a kind that cannot be stored, has only its path there, and is
        logged once.
        """
        state = {f"tracked.{name}": state_of(value) for name, value in self._tracked.items()}
        for slot in self._slots.read():
            with suppress(Exception):
                if digest := self._changed_digest(slot):
                    self._changed.add(slot.path)
                    state[slot.path] = self._stored(slot, is_outline(digest))
        for slot in self._numbers_ahead():
            if self._changed_digest(slot):
                self._changed.add(slot.path)
                state[slot.path] = self._omit(slot, "what makes samples may be ahead of training")
        return state

    def _numbers_ahead(self) -> list[Slot]:
        return [
            slot
            for path, holder in self._ahead.items()
            if is_own(holder)
            for slot in numbers_of(path, holder, self._ignored.get(path, frozenset()))
        ]

    def _stored(self, slot: Slot, is_large: bool) -> dict[str, Any]:
        if is_large:
            return self._omit(slot, "it is too large")
        if not is_iterator(slot.value) and can_store(state := state_of(slot.value)):
            return state
        kind = type(slot.value).__name__
        return self._omit(slot, f"a {kind} is neither plain data nor a tensor")

    def _omit(self, slot: Slot, why: str) -> dict[str, Any]:
        if slot.path not in self._omitted:
            self._omitted.add(slot.path)
            logger.warning(
                "branchtrack does not store %s, which changes during training: %s. A resume has it "
                "as the script makes it. If training depends on it, give it state_dict() and "
                "load_state_dict(), and name it: track(...), start(objects=...).",
                slot.path,
                why,
            )
        return {"kind": _OMITTED, "state": None}

    def numbers(self) -> dict[str, Any]:
        """Return the counters that have changed since training began, by path.

        A float may be a duration, under any name.
        """
        return {
            slot.path: repr(slot.value)
            for slot in self._slots.read()
            if isinstance(slot.value, int)
            and abs(slot.value) < _COUNTED
            and self._changed_digest(slot)
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Restore what `state` returned, in place where possible.

        Raises:
            CheckpointMismatch: the tracked objects are not those of the node.
        """
        names = {path.removeprefix("tracked.") for path in stored if path.startswith("tracked.")}
        if names != self._tracked.keys():
            raise _other_tracked(sorted(self._tracked), sorted(names))
        for name, value in self._tracked.items():
            give(None, name, value, stored[f"tracked.{name}"])
        present = {slot.path: slot.value for slot in self._slots.read()}
        for path, state in stored.items():
            before, _, name = path.rpartition(".")
            if not path.startswith("tracked.") and state["kind"] != _OMITTED:
                holder = self._slots.holders.get(before) if name.isidentifier() else None
                with suppress(Exception):
                    # What was not restored is reported: see `differing`.
                    give(holder, name, present.get(path), state)

    def differing(self, stored: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return what differs from ``stored`` all the same: path -> (stored, present), in short.

        Objects that no longer exist, such as a callback, have nothing to differ.
        """
        values = {slot.path: slot.value for slot in self._slots.read()}
        values |= {f"tracked.{name}": value for name, value in self._tracked.items()}
        differing = {}
        for path, state in stored.items():
            before, present = path.rpartition(".")[0], values.get(path)
            if state["kind"] == _OMITTED:
                continue
            if before in self._slots.holders or before.endswith("]") or path.startswith("tracked."):
                if signature(present) != signature(state["state"]):
                    differing[path] = (brief(state["state"]), brief(present))
        return differing

    @staticmethod
    def omitted(stored: Mapping[str, Any]) -> list[str]:
        """Return the paths of what had changed and is not in ``stored``."""
        return [path for path, state in stored.items() if state["kind"] == _OMITTED]

    def _changed_digest(self, slot: Slot) -> bytes | None:
        """Return the signature of what has changed since training began; None for all else."""
        path, value = slot.path, slot.value
        if self._constants.get(path, self) is value and path not in self._changed:
            return None
        if is_iterator(value):
            return b"read on"
        digest = signature(value, versions=True)
        if digest is None or _is_clock(value):
            return None
        changed = path in self._changed or self._began.get(path) != digest
        return digest if changed else None


def _is_clock(value: Any) -> bool:
    """Return whether a number is what some clock showed since this process began."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    scaled = value / 1e9 if isinstance(value, int) else value
    now = (time.time(), time.perf_counter(), time.monotonic())
    shown = any(began <= scaled <= at for began, at in zip(_BEGAN, now, strict=True))
    return shown and value != int(scaled)


def _other_tracked(present: list[str], stored: list[str]) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"The script tracks {', '.join(present) or 'nothing'}; the node has "
        f"{', '.join(stored) or 'nothing'}.",
        safe="No training was done.",
        fix="Track the same names as when the node was created, or load only the weights: "
        "--mode weights.",
        field="tracked",
        expected=stored,
        found=present,
    )
