"""The table has every arm, and says what diverged."""

from __future__ import annotations

import math

import pytest

from branchtrack.examples.studies import table
from tests.examples.studies.made_up import outcome, outcomes, plan, study


def test_rows_are_in_the_order_of_cases_and_arms() -> None:
    rows = table.rows(study(), plan(), outcomes())
    assert [(r.case, r.arm) for r in rows] == [
        ("low", "nothing"),
        ("high", "nothing"),
        ("", "tuned"),
    ]


def test_a_row_has_the_mean_and_the_spread_over_seeds() -> None:
    row = table.row([outcome("a", "c", 0, 2.0, steps=10), outcome("a", "c", 1, 2.2, steps=30)])
    assert row.loss == pytest.approx(2.1) and row.spread == pytest.approx(0.1414, abs=1e-3)
    assert row.steps == 20 and row.cells()[2] == "2.100 ± 0.141"


def test_what_diverged_is_counted_and_in_no_mean() -> None:
    row = table.row([outcome("a", "c", 0, math.nan), outcome("a", "c", 1, 3.0)])
    assert (row.loss, row.spread, row.cells()[3]) == (3.0, None, "1 of 2")


def test_an_arm_that_always_diverged_says_so_in_place_of_a_loss() -> None:
    row = table.row([outcome("a", "c", 0, math.inf), outcome("a", "c", 1, math.nan)])
    assert row.cells()[2:4] == ["diverged", "2 of 2"]


def test_a_cell_cannot_break_a_table() -> None:
    assert table.markdown(("a", "b"), [("x|y", "z")]).splitlines()[2] == r"| x\|y | z |"


def test_an_arm_says_who_answered() -> None:
    row = table.row([outcome("llm", "c", 0, facts={"note": "scripted endpoint"})])
    assert row.cells()[1] == "llm (scripted endpoint)"
