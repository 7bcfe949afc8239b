"""The JSON of what a branch can be asked for, and of tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from branchtrack.analysis import payloads_steering
from branchtrack.checkpoints.packs import Store
from branchtrack.core.capabilities import Action, Capabilities
from branchtrack.core.nonfinite import spelled
from branchtrack.core.settings import Setting
from branchtrack.db import nodes, tables, tokens
from branchtrack.db.engine import Database
from tests.trees_for_tests import Tree, make_tree


def read(tree: Tree, branch: str = "main") -> Any:
    with tree.database.read() as connection:
        payload = payloads_steering.settings(connection, tree.branches[branch])
    return json.loads(json.dumps(spelled(payload), allow_nan=False))


def test_a_setting_says_what_was_told_and_what_was_used(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    node = tree.node("main", 5)
    with sqlite_database.transaction() as connection:
        nodes.set_effective(connection, node.id, {"lr": 0.02, "lr_now": 0.01, "step": 6})
    payload = read(tree)
    lr = next(setting for setting in payload["settings"] if setting["name"] == "lr")
    assert (lr["value"], lr["effective"], lr["effective_now"]) == (0.01, 0.02, 0.01)
    assert (payload["status"], payload["step"], payload["effective_step"]) == ("running", 5, 6)


def test_an_action_says_which_arguments_it_needs(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    parameters = [Setting("threshold"), Setting("rounds", dtype="int")]
    offers = Capabilities({"relabel": Action("relabel", "", parameters, {"rounds": 3})}, ["head"])
    with sqlite_database.transaction() as connection:
        connection.execute(tables.segments.update().values(offers=offers.as_dict()))
    payload = read(tree)
    (action,) = payload["actions"]
    needs = {each["name"]: (each["required"], each["default"]) for each in action["parameters"]}
    assert needs == {"threshold": (True, None), "rounds": (False, 3)}
    assert payload["modules"] == ["head"] and payload["evaluates"]


def test_a_branch_that_no_process_has_begun_offers_nothing(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    tree.branches["main"] = replace(tree.branches["main"], segment_id=None)
    payload = read(tree)
    assert (payload["status"], payload["step"], payload["settings"]) == ("empty", None, [])
    assert payload["actions"] == [] and payload["modules"] is None


def test_a_token_has_the_promised_keys_and_no_secret(sqlite_database: Database) -> None:
    with sqlite_database.transaction() as connection:
        token, secret = tokens.create(connection, "bot", "agent", created_by="me", only=["lr"])
    payload = payloads_steering.token(token)
    assert payload["only"] == ["lr"] and payload["created_at"].endswith("Z")
    assert payload["used_at"] is payload["revoked_at"] is payload["max_per_1000_steps"] is None
    assert secret not in json.dumps(payload)
