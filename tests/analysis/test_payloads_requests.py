"""The JSON of requests and launches that scripts rely on."""

from __future__ import annotations

import json
from typing import Any

from branchtrack import control
from branchtrack.analysis import payloads_requests
from branchtrack.checkpoints.packs import Store
from branchtrack.core.nonfinite import spelled
from branchtrack.db import nodes, requests
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from tests.trees_for_tests import make_forked_tree, make_tree


def as_json(value: Any) -> Any:
    """``value`` through JSON as strict as a browser's, as the shell and the API write it."""
    return json.loads(json.dumps(spelled(value), allow_nan=False))


def has_keys(value: dict[str, Any], keys: str) -> bool:
    return set(keys.split()) <= value.keys()


def test_a_request_tells_what_was_asked_and_what_was_applied(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    asked = {"kind": "set", "values": {"lr": "3e-4"}}
    request = control.submit(database, "demo", asked, actor="me", reason="r")
    node = tree.node("main", 5)
    with database.transaction() as connection:
        requests.move(
            connection,
            request.id,
            "applied",
            actor="t",
            before={"lr": 0.01},
            applied={"lr": 3e-4},
            step=5,
            node_id=node.id,
        )
        request = requests.move(
            connection, request.id, "verified", actor="t", effective={"lr": 3e-4}
        )
    found = as_json(payloads_requests.request(request))
    assert has_keys(found, "id state requested applied before step node reason")
    assert found["payload"] == {"values": {"lr": "3e-4"}}
    assert found["requested"] == found["applied"] == {"lr": 3e-4}
    assert (found["before"], found["step"], found["node"]) == ({"lr": 0.01}, 5, node.id)


def test_a_launch_tells_its_branch_and_what_was_read_back(database: Database, store: Store) -> None:
    _tree, made = make_forked_tree(database, store)
    order = control.create_launch(
        database, store, made[1].id, actor="me", name="next", settings={"lr": "0.5"}
    )
    with database.transaction() as connection:
        nodes.set_effective(connection, order.fork_node_id, {"lr": 0.5})
    with database.read() as connection:
        found = as_json(payloads_requests.launch(connection, launches.get(connection, order.id)))
    assert has_keys(found, "launch branch node state")
    assert (found["branch"], found["node"], found["state"]) == ("next", made[1].id, "queued")
    assert (found["overrides"], found["effective"]) == ({"lr": 0.5}, {"lr": 0.5})
