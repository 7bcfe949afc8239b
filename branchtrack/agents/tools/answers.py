"""Answers that fit into a context window: lists are cut, and say so; curves are thinned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, Field

from branchtrack.core.nonfinite import spelled
from branchtrack.schemas.nodes import Tried
from branchtrack.schemas.trials import TrialHead

#: Items of a list, and characters of a text, in an answer that is not detailed.
MOST, MOST_TEXT = 12, 300

#: The name of a run, a branch or a node; it is no name if it is empty.
Name = Annotated[str, Field(min_length=1)]
#: Seconds to wait; with NaN it would never end.
Seconds = Annotated[float, Field(allow_inf_nan=False)]


def cut(items: Iterable[Any], most: int, what: str) -> list[Any]:
    """Return the first items; if there are more, the last item says so in words."""
    shown = list(islice(items, most + 1))
    if len(shown) <= most:
        return shown
    return [*shown[:most], f"… and more {what}: ask for them with detail or by name"]


def chosen(model: BaseModel, *names: str) -> dict[str, Any]:
    """Return some fields of an answer, without those that are empty; long texts are cut."""
    fields = model.model_dump(include=set(names))
    present = {name: fields[name] for name in names if fields.get(name) not in (None, "", [], {})}
    return {name: text(value) for name, value in present.items()}


def text(value: Any) -> Any:
    """Return a value; a long text is cut."""
    if isinstance(value, str) and len(value) > MOST_TEXT:
        return f"{value[:MOST_TEXT]}…"
    return value


def rounded(value: Any) -> Any:
    """Return a number with five digits, anything else as it is."""
    is_number = isinstance(value, float) and math.isfinite(value)
    return float(f"{value:.5g}") if is_number else value


def metrics(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics by name with five digits, without the project's own series."""
    return {name: rounded(value) for name, value in values.items() if "/" not in name}


def verdicts(trial: TrialHead) -> list[str]:
    """Return what a trial shows of each change: ``lr=x0.5: helps, loss -0.005 (-0.006 to ...)``."""
    return [_verdict(change, trial.metric) for change in trial.changes]


def _verdict(change: Tried, metric: str) -> str:
    words = f"{change.label}: {change.words}"
    if change.effect is not None:
        words += f", {metric} {change.effect:+.3g}"
    if change.low is not None and change.high is not None:
        words += f" ({change.low:+.3g} to {change.high:+.3g})"
    if change.why:
        words += f"; {change.why}"
    if change.more:
        words += f"; about {change.more} repeats more would settle it"
    return words


def plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as JSON that every reader accepts."""
    result: dict[str, Any] = spelled(dict(answer))
    return result


Tool = Callable[..., dict[str, Any]]
