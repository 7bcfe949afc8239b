"""A query holds of many rows at once as it holds of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from branchtrack.core.queries import columnwise, evaluation
from branchtrack.core.queries.evaluation import Facts
from branchtrack.core.queries.language import parse
from branchtrack.core.queries.terms import Curve, Filter, Name, Words

VALUES: list[Any] = [None, 1.0, 2, math.nan, math.inf, True, False, "1", "adamw", [1.0]]
ROWS = [
    Facts(
        0.0,
        {"run": name, "status": status},
        tags=frozenset(["good"] if index % 2 else []),
        settings={"x": value} if value is not None else {},
        curves={Curve("best", "loss"): float(index)} if index % 3 else {},
    )
    for index, value in enumerate(VALUES)
    for name, status in (("gpt2", "running"), ("bert", None))
]


class Table:
    """Columns of `ROWS`, made from what is known of each."""

    def __len__(self) -> int:
        return len(ROWS)

    def values(self, subject: Name | Curve) -> Sequence[Any]:
        if isinstance(subject, Curve):
            return [row.curves.get(subject) for row in ROWS]
        return [evaluation.value_of(subject, row) for row in ROWS]

    def filtered(self, term: Filter) -> columnwise.Answers:
        return [evaluation.holds(term, row) for row in ROWS]

    def containing(self, term: Words) -> columnwise.Answers:
        return [evaluation.holds(term, row) for row in ROWS]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "x<2",
        "x>=1 or x=2",
        "x!=1",
        "x=true",
        "x<true",
        "x!=false",
        "x=adamw",
        'x<"b"',
        "not x<2",
        "x<2 status:running",
        "not (x<2 or status:running)",
        "x=adamw or not status:failed",
        "best(loss)<4 tag:good",
        "not (best(loss)<4 and x>1)",
        "GPT x>1",
        "not bert",
        "goo or best(loss)>8",
    ],
)
def test_of_each_row_the_answer_is_that_of_one(query: str) -> None:
    term = parse(query, of_runs=True)
    assert columnwise.holds(term, Table()) == [evaluation.holds(term, row) for row in ROWS]
