"""Values of metrics over all points of a branch."""

from __future__ import annotations

import math

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.core.queries.terms import FUNCTIONS, Curve
from branchtrack.db import metrics
from branchtrack.db.engine import Database
from branchtrack.db.views.branch_values import of_branches
from tests.trees_for_tests import make_forked_tree


def test_values_are_those_that_a_branch_has_trained(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BLOCK", 8)
    tree, _nodes = make_forked_tree(database, store)
    curves = [Curve(name, "loss") for name in FUNCTIONS]
    with database.read() as connection:
        values = of_branches(connection, curves)
    by_name = {
        name: {curve.function: value for curve, value in values[tree.branches[name].id].items()}
        for name in ("main", "cooler")
    }
    assert by_name["main"] == {"min": 1, "max": 30, "best": 1, "worst": 30, "last": 30}
    assert by_name["cooler"] == {"min": 111, "max": 120, "best": 111, "worst": 120, "last": 120}


def test_higher_is_better_for_some(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    tree.points("main", "accuracy", range(1, 4))
    with database.read() as connection:
        values = of_branches(connection, [Curve("best", "accuracy"), Curve("last", "none")])
    assert values[tree.branches["main"].id][Curve("best", "accuracy")] == 3
    assert tree.branches["cooler"].id not in values


@pytest.mark.parametrize("block", [2, 1000])
def test_infinity_is_the_last_value_and_no_extreme(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(metrics, "BLOCK", block)
    tree, _nodes = make_forked_tree(database, store)
    tree.points("main", "other", range(1, 6), [-math.inf, 2.0, 1.0, math.inf, -math.inf])
    tree.points("main", "never", range(1, 4), [-math.inf, math.inf, math.nan])
    asked = [Curve(name, metric) for name in FUNCTIONS for metric in ("other", "never")]
    with database.read() as connection:
        main = of_branches(connection, asked)[tree.branches["main"].id]
    known = {str(curve): value for curve, value in main.items() if curve.metric == "other"}
    assert known == {
        **{"min(other)": 1.0, "max(other)": 2.0, "best(other)": 1.0, "worst(other)": 2.0},
        "last(other)": -math.inf,
    }
    assert [str(curve) for curve in main if curve.metric == "never"] == ["last(never)"]


def test_nan_is_the_last_value_and_no_extreme(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    tree.points("main", "other", range(1, 4), [2.0, 1.0, math.nan])
    with database.read() as connection:
        values = of_branches(connection, [Curve("min", "other"), Curve("last", "other")])
    main = values[tree.branches["main"].id]
    assert main[Curve("min", "other")] == 1.0 and math.isnan(main[Curve("last", "other")])
