"""The table of a study: one row for each arm in each case, over all seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.study import ANY_CASE, Study

HEADERS = (
    "case", "arm", "held-out loss", "diverged", "steps", "seconds", "interventions", "tokens",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Means over the seeds of an arm in a case; ``loss`` and ``spread`` of those that are finite.

    ``spread`` is the standard deviation; None for fewer than two seeds, ``loss`` for none. ``note``
    is the ``note`` of the outcomes' facts, such as which model was asked. ``more`` are the cells of
    the study's own columns.
    """

    case: str
    arm: str
    loss: float | None
    spread: float | None
    diverged: int
    seeds: int
    steps: float
    seconds: float
    interventions: float
    tokens: float
    note: str = ""
    more: Sequence[str] = ()

    def cells(self) -> list[str]:
        """Return the row as texts."""
        return [
            self.case or "any",
            f"{self.arm} ({self.note})" if self.note else self.arm,
            self._loss(),
            f"{self.diverged} of {self.seeds}",
            f"{self.steps:,.0f}",
            f"{self.seconds:,.1f}",
            f"{self.interventions:.1f}",
            f"{self.tokens:,.0f}",
            *self.more,
        ]

    def _loss(self) -> str:
        if self.loss is None:
            return "diverged"
        spread = "" if self.spread is None else f" ± {self.spread:.3f}"
        return f"{self.loss:.3f}{spread}"


def headers(study: Study) -> list[str]:
    """Return the headers of a study's table."""
    return [*HEADERS, *(header for header, _ in study.columns)]


def rows(study: Study, plan: Plan, outcomes: Sequence[Outcome]) -> Iterator[Row]:
    """Yield the rows of a table, case by case in the order of the arms."""
    for case in (*plan.cases, ANY_CASE):
        for arm in study.arms:
            chosen = [o for o in outcomes if (o.arm, o.case) == (arm.name, case)]
            if chosen:
                more = [cell(plan, outcomes, chosen) for _, cell in study.columns]
                yield replace(row(chosen), more=more)


def row(outcomes: Sequence[Outcome]) -> Row:
    """Return the row of an arm in a case, from one outcome for each seed."""
    losses = [outcome.loss for outcome in outcomes if not outcome.diverged]
    return Row(
        case=outcomes[0].case,
        arm=outcomes[0].arm,
        loss=statistics.fmean(losses) if losses else None,
        spread=statistics.stdev(losses) if len(losses) > 1 else None,
        diverged=sum(outcome.diverged for outcome in outcomes),
        seeds=len(outcomes),
        steps=statistics.fmean(outcome.steps for outcome in outcomes),
        seconds=statistics.fmean(outcome.seconds for outcome in outcomes),
        interventions=statistics.fmean(outcome.interventions for outcome in outcomes),
        tokens=statistics.fmean(outcome.tokens for outcome in outcomes),
        note=str(outcomes[0].facts.get("note", "")),
    )


def markdown(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; columns after the second are right-aligned."""
    marks = ["---" if number < 2 else "---:" for number in range(len(headers))]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"
        for line in (headers, marks, *lines)
    )
