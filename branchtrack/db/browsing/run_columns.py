"""Columns over many runs at once, for queries, orders and groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchtrack.core.lifecycle import CRASHED
from branchtrack.core.queries.columns import Column, Fact
from branchtrack.core.queries.columnwise import Answers
from branchtrack.core.queries.directions import is_higher_better
from branchtrack.core.queries.evaluation import fits
from branchtrack.core.queries.language import moment, stretch
from branchtrack.core.queries.terms import Curve, Filter, Name, Words
from branchtrack.db.browsing.run_index import RunIndex
from branchtrack.db.browsing.run_records import RunRecord

#: In this order runs are sorted by their state.
STATES = "running paused waiting failed lost stopped finished empty".split()
_RANKS = {state: rank for rank, state in enumerate(STATES)}
_MINIMUM, _MAXIMUM, _LAST = range(3)


class RunColumns:
    """What queries over runs see of them; ``now`` is the time that ``since:7d`` counts from."""

    def __init__(self, index: RunIndex, runs: Sequence[RunRecord], now: float) -> None:
        self._index = index
        self._runs = runs
        self._now = now

    def __len__(self) -> int:
        return len(self._runs)

    def values(self, subject: Column) -> list[Any]:
        """Return the values of a column; None where there is none."""
        if isinstance(subject, Curve):
            return self._of_curve(subject)
        if isinstance(subject, Fact):
            return self._of_fact(subject.word)
        return self._of_name(subject)

    def filtered(self, term: Filter) -> Answers:
        """Return of which runs a filter holds."""
        word, value, runs = term.word, term.value, self._runs
        if word == "status":
            return [run.status == value for run in runs]
        if word == "failed":
            return [(run.status in CRASHED) is (value == "yes") for run in runs]
        if word == "archived":
            return [run.archived is (value == "yes") for run in runs]
        if word == "run":
            return [fits(value, run.name) for run in runs]
        if word == "branch":
            return [any(fits(value, branch.name) for branch in run.branches) for run in runs]
        if word == "name":
            part = value.lower()
            return [any(part in name.lower() for name in _names(run)) for run in runs]
        if word == "tag":
            return [any(fits(value, tag) for tag in _tags(run)) for run in runs]
        if word == "step":
            first, last = stretch(value) or (0, -1)
            return [None if run.step is None else first <= run.step <= last for run in runs]
        begin = moment(value, self._now)
        return [None if begin is None else run.created_at >= begin for run in runs]

    def containing(self, term: Words) -> Answers:
        """Return which runs have a text in their name, notes or tags."""
        text = term.text.lower()
        return [text in run.text for run in self._runs]

    def _of_curve(self, curve: Curve) -> list[Any]:
        values = self._index.metrics[curve.metric].values
        none = (None, None, None)
        place = _place(curve)
        return [values.get(run.id, none)[place] for run in self._runs]

    def _of_fact(self, word: str) -> list[Any]:
        runs = self._runs
        if word == "name":
            return [run.name.lower() for run in runs]
        if word == "status":
            return [_RANKS.get(run.status) for run in runs]
        if word == "branches":
            return [len(run.branches) for run in runs]
        if word == "step":
            return [run.step for run in runs]
        if word in ("tags", "tag"):
            return [", ".join(run.tags).lower() or None for run in runs]
        return [run.created_at if word == "created" else run.updated_at for run in runs]

    def _of_name(self, name: Name) -> list[Any]:
        if name.scope == "metric":
            return self._of_metric(name.text)
        known = self._index.settings[name.text]
        values = [None if run.leading is None else known.get(run.leading) for run in self._runs]
        if name.scope == "setting" or None not in values:
            return values
        others = self._of_metric(name.text)
        pairs = zip(values, others, strict=True)
        return [other if value is None else value for value, other in pairs]

    def _of_metric(self, name: str) -> list[Any]:
        if name == "step":
            return self._of_fact("step")
        return self._of_curve(Curve("last", name))


def _place(curve: Curve) -> int:
    if curve.function == "last":
        return _LAST
    if curve.function in ("min", "max"):
        return _MINIMUM if curve.function == "min" else _MAXIMUM
    is_high = is_higher_better(curve.metric) is (curve.function == "best")
    return _MAXIMUM if is_high else _MINIMUM


def _names(run: RunRecord) -> list[str]:
    return [run.name, *(branch.name for branch in run.branches)]


def _tags(run: RunRecord) -> list[str]:
    return [*run.tags, *(tag for branch in run.branches for tag in branch.tags)]
