"""The JSON of nodes, differences and curves that scripts rely on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from branchtrack.analysis import payloads_nodes
from branchtrack.checkpoints.packs import Store
from branchtrack.core.nonfinite import spelled
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput, NotFound
from tests.trees_for_tests import make_forked_tree, make_tree


def as_json(value: Any) -> Any:
    """``value`` through JSON as strict as a browser's, as the shell and the API write it."""
    return json.loads(json.dumps(spelled(value), allow_nan=False))


def has_keys(value: dict[str, Any], keys: str) -> bool:
    return set(keys.split()) <= value.keys()


def test_a_node_is_shown_with_settings_and_checkpoint(database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(database, store)
    with database.transaction() as connection:
        nodes.set_effective(connection, made[2].id, {"lr": 0.02}, {"weights": "restored"})
    with database.read() as connection:
        found = as_json(payloads_nodes.show(connection, store, nodes.find(connection, made[2].id)))
    assert has_keys(found, "id branch settings effective restored environment checkpoint")
    assert found["settings"]["lr"] == 0.02
    assert (found["effective"], found["restored"]) == ({"lr": 0.02}, {"weights": "restored"})
    checkpoint = found["checkpoint"]
    assert (checkpoint["tensors"], checkpoint["logical_bytes"]) == (1, 256)
    assert checkpoint["stored_bytes"] > 256
    assert [str(path) for path in Path(store.describe()).rglob("*.safetensors")] != []
    assert set(checkpoint["files"]) <= {
        str(p) for p in Path(store.describe()).rglob("*.safetensors")
    }


def test_branches_are_compared_from_where_they_parted(database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(database, store)
    with database.read() as connection:
        found = as_json(payloads_nodes.diff(connection, "demo/main", "demo/cooler"))
    assert found["common_ancestor"] == made[1].id
    assert found["common_step"] == 10
    assert found["settings"] == [{"name": "lr", "a": 0.02, "b": 0.001}]
    assert {"name": "loss", "a": 30.0, "b": 120.0} in found["metrics"]
    assert [node["step"] for node in found["a"]["changes"]] == [20]
    assert [node["kind"] for node in found["b"]["changes"]] == ["fork"]


def test_a_node_is_compared_with_a_branch(sqlite_database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        found = as_json(payloads_nodes.diff(connection, made[1].id[:8], "demo/cooler"))
    assert found["common_ancestor"] == made[1].id
    assert found["metrics"] == [{"name": "loss", "a": 2.0, "b": 1.0}]


def test_runs_that_share_nothing_have_no_common_ancestor(
    sqlite_database: Database, store: Store
) -> None:
    for name in ("one", "two"):
        make_tree(sqlite_database, store, name).node("main", 0, kind="root")
    with sqlite_database.read() as connection:
        found = as_json(payloads_nodes.diff(connection, "one", "two"))
    assert found["common_ancestor"] is None


def test_a_branch_without_nodes_cannot_be_compared(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    with (
        sqlite_database.read() as connection,
        pytest.raises(InvalidInput, match="at least one node"),
    ):
        payloads_nodes.diff(connection, "demo", "demo")


def test_a_curve_is_stitched_and_says_where(sqlite_database: Database, store: Store) -> None:
    tree, _made = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection:
        found = as_json(payloads_nodes.curve(connection, tree.branches["cooler"], "loss"))
    assert has_keys(found, "steps values segments forks gaps")
    assert found["steps"] == list(range(1, 21))
    assert found["values"] == [*range(1, 11), *range(111, 121)]
    assert found["forks"] == [10]
    assert [span["upto"] for span in found["segments"]] == [10, None]


def test_a_curve_tells_nan_and_the_infinities_apart_and_as_gaps(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    values = [1.0, math.nan, math.inf, -math.inf]
    tree.points("main", "loss", range(1, 5), values)
    with sqlite_database.read() as connection:
        found = as_json(payloads_nodes.curve(connection, tree.branches["main"], "loss"))
    assert found["values"] == [1.0, "NaN", "Infinity", "-Infinity"]
    assert found["gaps"] == [2, 3, 4]


def test_a_curve_of_fewer_points_keeps_the_spike_and_every_gap(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    values = [1.0] * 3000
    values[1234], values[2000], values[2001] = 99.0, math.nan, math.nan
    tree.points("main", "loss", range(3000), values)
    with sqlite_database.read() as connection:
        found = as_json(payloads_nodes.curve(connection, tree.branches["main"], "loss", 50))
    assert len(found["steps"]) < 60
    assert 99.0 in found["values"]
    assert found["gaps"] == [2000, 2001]
    assert found["points"] == 3000


def test_an_unknown_metric_is_answered_with_those_there_are(
    sqlite_database: Database, store: Store
) -> None:
    tree, _made = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection, pytest.raises(NotFound, match="loss"):
        payloads_nodes.curve(connection, tree.branches["cooler"], "los")


@pytest.mark.parametrize("points", [-1, 0, 3])
def test_too_few_points_are_refused(sqlite_database: Database, store: Store, points: int) -> None:
    tree, _made = make_forked_tree(sqlite_database, store)
    with sqlite_database.read() as connection, pytest.raises(InvalidInput, match="4 or more"):
        payloads_nodes.curve(connection, tree.branches["main"], "loss", points)
