"""Columns, and what a table of runs is sorted and grouped by, as people write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from branchtrack.core.queries import columns
from branchtrack.core.queries.columns import Column, Fact, Sort
from branchtrack.core.queries.terms import Curve, Name
from branchtrack.errors import InvalidInput

BEST = Curve("best", "eval_loss")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (" , ", ()),
        ("lr,best(eval_loss)", (Name("lr"), BEST)),
        ("updated, lr ,lr", (Fact("updated"), Name("lr"))),
        ("setting.step", (Name("step", "setting"),)),
        ("`a,b`,last(`c d`)", (Name("a,b"), Curve("last", "c d"))),
    ],
)
def test_columns_are_read_and_written(text: str, expected: tuple[Column, ...]) -> None:
    assert columns.parse_columns(text) == expected
    assert columns.parse_columns(",".join(map(str, expected))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("best(eval_loss)", Sort(BEST)),
        ("-updated", Sort(Fact("updated"), True)),
        (" - lr", Sort(Name("lr"), True)),
    ],
)
def test_a_minus_sorts_from_the_highest_on(text: str, expected: Sort) -> None:
    assert columns.parse_sort(text) == expected
    assert columns.parse_sort(str(expected)) == expected
    assert expected.reversed.reversed == expected


def test_runs_are_grouped_by_tag_status_or_a_setting() -> None:
    groups = [columns.parse_group(text) for text in ("", "tag", "status", "optimizer")]
    assert groups == [None, Fact("tag"), Fact("status"), Name("optimizer")]


@pytest.mark.parametrize(
    ("parse", "field", "text"),
    [
        (columns.parse_columns, "columns", "lr<1"),
        (columns.parse_columns, "columns", "mean(loss)"),
        (columns.parse_columns, "columns", "a b"),
        (columns.parse_columns, "columns", ",".join(f"x{number}" for number in range(13))),
        (columns.parse_columns, "columns", "x" * 1001),
        (columns.parse_sort, "sort", ""),
        (columns.parse_sort, "sort", "trend"),
        (columns.parse_sort, "sort", "--updated"),
        (columns.parse_group, "by", "best(eval_loss)"),
        (columns.parse_group, "by", "updated"),
    ],
)
def test_what_is_no_column_is_refused(
    parse: Callable[[str], object], field: str, text: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        parse(text)
    assert error.value.field == field


def test_a_column_is_sorted_with_the_best_on_top() -> None:
    written = ["best(eval_loss)", "best(accuracy)", "lr", "updated", "name", "trend"]
    sorts = [columns.natural(column) for column in columns.parse_columns(",".join(written))]
    assert [str(sort) for sort in sorts] == [
        "best(eval_loss)",
        "-best(accuracy)",
        "lr",
        "-updated",
        "name",
        "None",
    ]


def test_curves_are_those_columns_that_metrics_are_read_for() -> None:
    assert columns.curves([Name("lr"), BEST, Fact("step"), None]) == {BEST}
