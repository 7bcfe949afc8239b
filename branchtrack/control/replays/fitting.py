"""Whether a recording fits a training: each change checked, with its moment there.

Nothing is stored; an error names the line. It knows no process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from branchtrack.control.request_checks import CheckedRequest, check_fit
from branchtrack.core.records import Segment
from branchtrack.core.replays.changes import RecordedChange
from branchtrack.core.replays.recording import Recording, at_line, lines_of
from branchtrack.errors import InvalidInput


@dataclass(frozen=True)
class FittedChange:
    """A change that a training can be asked for."""

    change: RecordedChange
    checked: CheckedRequest

    @property
    def step(self) -> int | None:
        """The step at which it is made; None if a condition decides."""
        step: int | None = self.checked.conditions.get("at_step")
        return step


@dataclass(frozen=True)
class FittedRecording:
    """The changes to ask for, those that were ``done`` already, and those whose step is past."""

    recording: Recording
    changes: tuple[FittedChange, ...]
    done: tuple[RecordedChange, ...] = ()
    passed: tuple[RecordedChange, ...] = ()


def fit(
    recording: Recording,
    segment: Segment,
    *,
    done: Collection[int] = (),
    skip_passed: bool = False,
) -> FittedRecording:
    """Check all changes of a recording against what the process of a segment declared.

    ``segment`` has the step, the settings and the planned end that they begin from; ``done`` are
    the lines of changes that were made on its path before.

    Raises:
        InvalidInput: a change does not fit, or its step is past and not ``skip_passed``; with the
            line.
    """
    left = [change for change in recording.requested if change.line not in done]
    moments = [(change, _conditions(change, segment)) for change in left]
    passed = [change for change, when in moments if _is_past(when, segment)]
    if passed and not skip_passed:
        raise InvalidInput(
            f"line {passed[0].line}: at.step",
            moments[left.index(passed[0])][1]["at_step"],
            f"a step from {segment.step} on, or --skip-past to leave out what has passed",
            what=f"{lines_of(passed).capitalize()}: the training is at step {segment.step}, past "
            "the step of these changes.",
        )
    ends = replace(segment, max_steps=_end(moments, segment))
    fitted = [
        FittedChange(change, _checked(change, when, ends))
        for change, when in moments
        if change not in passed
    ]
    made = [change for change in recording.requested if change.line in done]
    return FittedRecording(recording, tuple(fitted), tuple(made), tuple(passed))


def _conditions(change: RecordedChange, segment: Segment) -> dict[str, Any]:
    length = segment.settings.get("max_steps") or segment.max_steps
    try:
        return change.at.conditions(length)
    except InvalidInput as error:
        raise at_line(change.line, error) from error


def _is_past(when: dict[str, Any], segment: Segment) -> bool:
    step = when.get("at_step")
    return step is not None and bool(step < segment.step)


def _end(moments: Iterable[tuple[RecordedChange, Any]], segment: Segment) -> int | None:
    """Return the last step at which a change can be made: one of them may lengthen the training."""
    if segment.max_steps is None:
        return None
    lengths: list[Any] = [
        value
        for change, _when in moments
        for name, value in (change.fields.get("values") or {}).items()
        if name == "max_steps"
    ]
    if any(not isinstance(length, int) for length in lengths):
        # A relative length is known only when the change is made.
        return None
    return max(segment.max_steps, *map(int, lengths), 0)


def _checked(change: RecordedChange, when: dict[str, Any], segment: Segment) -> CheckedRequest:
    try:
        return check_fit(change.intervention, when, segment)
    except InvalidInput as error:
        raise at_line(change.line, error) from error
