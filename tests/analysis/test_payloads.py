"""The JSON of runs and trees that scripts rely on, with nothing that JSON lacks."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

import pytest

from branchtrack.analysis import payloads
from branchtrack.checkpoints.packs import Store
from branchtrack.core.nonfinite import spelled
from branchtrack.db.browsing import run_search
from branchtrack.db.engine import Database
from tests.db.browsing.tables_of_runs import add_run
from tests.trees_for_tests import make_forked_tree, make_tree


def as_json(value: Any) -> Any:
    """``value`` through JSON as strict as a browser's, as the shell and the API write it."""
    return json.loads(json.dumps(spelled(value), allow_nan=False))


def has_keys(value: dict[str, Any], keys: str) -> bool:
    return set(keys.split()) <= value.keys()


def test_runs_have_the_promised_keys(database: Database, store: Store) -> None:
    make_forked_tree(database, store)
    with database.read() as connection:
        (found,) = as_json(payloads.runs(connection, time.time()))
    assert has_keys(found, "id name status branches nodes created_at updated_at")
    assert (found["name"], found["status"]) == ("demo", "running")
    assert (found["branches"], found["nodes"]) == (2, 6)


def test_a_run_without_heartbeat_is_told_as_lost(database: Database, store: Store) -> None:
    make_tree(database, store)
    with database.read() as connection:
        (found,) = payloads.runs(connection, time.time() + 60)
    assert found["status"] == "lost"


def test_times_are_iso_8601_in_utc(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    with database.read() as connection:
        (found,) = payloads.runs(connection, time.time())
    assert found["created_at"].endswith("Z")
    told = datetime.fromisoformat(found["created_at"]).timestamp()
    assert told == pytest.approx(tree.run.created_at, abs=0.001)


def test_a_tree_has_the_promised_keys_with_parents_before_children(
    database: Database, store: Store
) -> None:
    tree, made = make_forked_tree(database, store)
    with database.read() as connection:
        found = as_json(payloads.tree(connection, tree.run))
    assert found["run"]["name"] == "demo"
    assert all(has_keys(branch, "name status head forked_from") for branch in found["branches"])
    keys = "id branch parent step epoch kind changes message actor state_digest durable created_at"
    assert all(has_keys(node, keys) for node in found["nodes"])
    assert [node["id"] for node in found["nodes"]] == [node.id for node in made]
    assert found["branches"][1]["forked_from"] == made[1].id
    assert found["branches"][1]["head"] == made[5].id
    assert found["nodes"][2]["changes"] == [{"name": "lr", "before": 0.01, "after": 0.02}]
    assert all(node["durable"] is True for node in found["nodes"])


def test_a_command_is_shown_without_its_secrets(sqlite_database: Database, store: Store) -> None:
    entry_point = {"argv": ["python", "train.py", "--api-key", "h1dd3n"], "cwd": "/", "env": {}}
    tree = make_tree(sqlite_database, store, entry_point=entry_point)
    with sqlite_database.read() as connection:
        shown = payloads.tree(connection, tree.run)["run"]["entry_point"]
    assert shown["argv"][-1] == "<redacted>"


def test_a_row_is_that_of_the_list_of_runs_and_has_values(database: Database, store: Store) -> None:
    add_run(database, store, "demo", settings={"lr": 0.1}, loss=[2.0]).node("main", 0)
    add_run(database, store, "other", settings={"lr": 0.2})
    selection = run_search.selection("", "lr", by="status", columns="lr,last(loss),status")
    with database.read() as connection:
        table = payloads.table_of_runs(connection, selection, time.time(), 1)
    (row,) = table["runs"]
    assert (table["total"], table["hidden"], table["next"]) == (2, 0, 1)
    assert row.pop("values") == {"lr": 0.1, "last(loss)": 2.0} and row.pop("group") == "finished"
    with database.read() as connection:
        listed = {line["name"]: line for line in payloads.runs(connection, time.time())}
        rest = payloads.table_of_runs(connection, run_search.selection(), time.time(), None, 1)
    assert row == listed["demo"]
    assert rest["next"] is None and "values" not in rest["runs"][0]
