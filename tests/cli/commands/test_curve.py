"""`curve` as a drawing, as CSV and with NaN."""

from __future__ import annotations

import math

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db.engine import Database
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree, make_tree

Forked = tuple[Tree, list[Node]]


def test_csv_has_a_line_for_every_point(call: Call, forked: Forked) -> None:
    lines = call("curve", "demo/cooler", "loss", "--csv").out.splitlines()
    assert lines[0] == "step,value"
    assert lines[1:3] == ["1,1.0", "2,2.0"]
    assert len(lines) == 21


def test_csv_spells_nan_and_infinity_out(
    call: Call, sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    tree.points("main", "loss", range(1, 5), [1.0, math.nan, math.inf, -math.inf])
    lines = call("curve", "demo", "loss", "--csv").out.splitlines()
    assert lines[1:] == ["1,1.0", "2,nan", "3,inf", "4,-inf"]
    assert "3 values are NaN or infinite, the first at step 2" in call("curve", "demo", "loss").out


def test_csv_can_be_of_fewer_points(call: Call, forked: Forked) -> None:
    lines = call("curve", "demo/cooler", "loss", "--csv", "--points", "6").out.splitlines()
    assert 4 < len(lines) < 12


def test_csv_and_json_exclude_each_other(call: Call, forked: Forked) -> None:
    found = call("curve", "demo", "loss", "--csv", "--json")
    assert found.code == 2
    assert found.json["error"]["type"] == "UsageError"


def test_too_few_points_are_refused(call: Call, forked: Forked) -> None:
    assert call("curve", "demo", "loss", "--points", "3").code == 2


def test_an_unknown_metric_is_answered_in_json_too(call: Call, forked: Forked) -> None:
    found = call("curve", "demo", "los", "--json")
    assert found.code == 2
    assert found.json["error"]["facts"]["near"] == ["loss"]
