"""Columns over many runs."""

from __future__ import annotations

import time

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.queries.columns import Fact, parse_columns
from branchtrack.db.browsing import run_index
from branchtrack.db.browsing.run_columns import STATES, RunColumns
from branchtrack.db.engine import Database
from tests.db.browsing.tables_of_runs import add_run, matches


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("best(accuracy)", 0.9),
        ("worst(accuracy)", 0.5),
        ("min(accuracy)", 0.5),
        ("max(accuracy)", 0.9),
        ("last(accuracy)", 0.7),
        ("best(loss)", 1.0),
        ("lr", 0.1),
        ("metric.lr", 3.0),
        ("setting.lr", 0.1),
        ("setting.loss", None),
        ("loss", 2.0),
        ("data.mixture.code", 0.5),
        ("metric.step", 0),
    ],
)
def test_a_column_is_a_setting_or_a_value_of_a_metric(
    sqlite_database: Database, store: Store, column: str, expected: float | None
) -> None:
    settings = {"lr": 0.1, "data.mixture": {"code": 0.5}}
    curves = {"accuracy": [0.5, 0.9, 0.7], "loss": [1.0, 2.0], "lr": [3.0]}
    add_run(sqlite_database, store, "demo", settings=settings, **curves)
    (match,) = matches(sqlite_database, columns=column).runs
    assert match.values[parse_columns(column)[0]] == expected


def test_facts_have_values_to_sort_by(sqlite_database: Database, store: Store) -> None:
    tree = add_run(sqlite_database, store, "Demo")
    with sqlite_database.read() as connection, run_index.opened(connection) as index:
        columns = RunColumns(index, list(index.runs.values()), time.time())
        facts = {word: columns.values(Fact(word))[0] for word in ("name", "status", "branches")}
        assert facts == {"name": "demo", "status": STATES.index("finished"), "branches": 1}
        assert columns.values(Fact("tags")) == [None]
        assert columns.values(Fact("created")) == [tree.run.created_at]
