"""What an update made of the settings that were expected of it: read, compared, and put in words.

Reading serves only the record: no update may suffer from it. This module knows no database.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from branchtrack.core import preconditions
from branchtrack.training.settings import apply, shadow_step
from branchtrack.training.settings.apply import Live
from branchtrack.training.settings.shadow_step import Sample
from branchtrack.training.steer.answers import Answer, Expectation

logger = logging.getLogger("branchtrack")


@dataclass(frozen=True)
class Verdict:
    """The verdict on one request: ``state``, what was read back, and why it is ineffective."""

    answer: Answer
    state: str
    effective: dict[str, Any]
    error: str | None


class Probe:
    """Compares an update with one that would have been made with the old values.

    Call it before and after each optimizer's step, with the optimizer's name.
    """

    def __init__(self, expected: Expectation) -> None:
        self.expected = expected
        self._answers = [answer for answer in expected.answers if answer.options is not None]
        self._samples: dict[str, Sample] = {}

    def before(self, live: Live, name: str = "") -> None:
        """Keep a sample of what the optimizer is about to change, if anything is expected."""
        groups: set[int] = set()
        for answer in self._answers:
            groups |= set(shadow_step.changed_groups(*_options(answer)).get(name, ()))
        if not groups or name in self._samples:
            return
        try:
            optimizer = live.parts[name].optimizer
            optimizer = getattr(optimizer, "optimizer", optimizer)
            self._samples[name] = Sample(optimizer, sorted(groups))
        except Exception:
            logger.debug("branchtrack cannot probe an update", exc_info=True)

    def after(self, live: Live, name: str = "") -> None:
        """Compare, and record in each answer the effect of its change on the update."""
        sample = self._samples.pop(name, None)
        if sample is None:
            return
        concerned = [
            candidate
            for candidate in self._answers
            if name in shadow_step.changed_groups(*_options(candidate))
        ]
        now = shadow_step.options(live)
        if not any(apply.number(group.get("lr", 1.0)) for group in now[name]):
            # While a schedule is at 0, no effect of the rest can be seen.
            return
        alternatives = [
            shadow_step.replaced(now, *_options(candidate))[name] for candidate in concerned
        ]
        for answer, outcome in zip(concerned, sample.compare(alternatives), strict=True):
            answer.outcome = outcome


def verdicts(
    expected: Expectation, readings: Sequence[Mapping[str, Any]], step: int, live: Live
) -> list[Verdict]:
    """Return the verdict on every request whose settings are expected in update ``step``.

    ``live`` is as the update has left it, the schedule's own step included.
    """
    results = []
    for answer in expected.answers:
        if answer.state != "applied" or not answer.settings:
            continue
        last = readings[-1]
        unlike = [
            (name, value, _other(name, value, expected, readings))
            for name, value in answer.settings.items()
            if not obeyed({name: value}, expected, readings)
        ]
        beside = ["lr_now", *(["grad_norm"] if "max_grad_norm" in answer.settings else [])]
        names = [*answer.settings, *(name for name in beside if name in last)]
        effective = {"step": step, **{name: last.get(name) for name in names}}
        effective |= {} if answer.outcome is None else {"update": answer.outcome.as_dict()}
        why = _why(unlike, answer, step) or _taken_back(live, answer) or None
        effective["verified"] = why is None
        results.append(Verdict(answer, "ineffective" if why else "verified", effective, why))
    return results


def obeyed(
    targets: Mapping[str, Any], expected: Expectation, readings: Sequence[Mapping[str, Any]]
) -> bool:
    """Return whether every reading of an update shows the expected values."""
    return all(apply.agrees(targets, expected.groups, reading) for reading in readings)


def _taken_back(live: Live, answer: Answer) -> str:
    """Return the message that a rate was reset after the update, as if unchanged; or nothing."""
    if answer.options is None or not any(n.rpartition(".")[2] == "lr" for n in answer.settings):
        return ""
    before, after = answer.options
    for name, optimizer_objects in live.parts.items():
        foreseen = answer.foreseen.get(name)
        for index, group in enumerate(optimizer_objects.groups):
            rates = [options[name][index].get("lr") for options in (before, after)]
            if None in rates:
                continue
            old, new = map(apply.number, rates)
            rate = apply.number(group["lr"])
            if preconditions.same(old, new) or preconditions.same(rate, new):
                continue
            without = [old, *([foreseen[index]] if foreseen else [])]
            back = rate and any(preconditions.same(rate, reference) for reference in without)
            if back or optimizer_objects.scheduler is None:
                return (
                    f"Something reset the rate to {rate} after the update, "
                    "as if there had been no change."
                )
    return ""


def _other(
    name: str, value: Any, expected: Expectation, readings: Sequence[Mapping[str, Any]]
) -> Any:
    """Return the first reading that differs from the expected value."""
    for reading in readings:
        if not apply.agrees({name: value}, expected.groups, reading):
            beside = {"max_grad_norm": "grad_norm", "lr": "lr_now"}
            prefix, _dot, local_name = name.rpartition(".")
            seen = reading.get(name)
            if local_name in beside and preconditions.same(seen, value):
                # The setting is as it should be, but not what the mathematics uses.
                seen = reading.get(
                    f"{prefix}.{beside[local_name]}" if prefix else beside[local_name]
                )
            return seen
    return None


def _why(unlike: list[tuple[str, Any, Any]], answer: Answer, step: int) -> str | None:
    if unlike:
        parts = [
            f"{name} was to be {value}, and update {step} used {actual}"
            if actual is not None
            else f"{name} was to be {value}, and update {step} did not use it"
            for name, value, actual in unlike
        ]
        return "; ".join(parts) + "."
    outcome = answer.outcome
    if outcome is None or outcome.is_seen:
        return None
    names = ", ".join(answer.settings)
    if not outcome.elements:
        return f"{names}: no parameter of the groups concerned had a gradient at update {step}."
    return (
        f"{names}: update {step} came out the same, bit for bit, as with the old value, in all of "
        f"{outcome.elements:,} elements compared; the change is too small for the parameters."
    )


def _options(answer: Answer) -> tuple[shadow_step.Options, shadow_step.Options]:
    assert answer.options is not None
    return answer.options
