"""Certificates are written whole, with a line of the log; the newest of each branch is found."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Certificate, Node
from branchtrack.db import audit, certificates
from branchtrack.db.engine import Database
from branchtrack.db.views import tree_outline
from tests.trees_for_tests import Tree, make_forked_tree


def certificate(start: Node, target: Node, name: str, at: float, **facts: Any) -> Certificate:
    given: dict[str, Any] = {"difference": None, "untested": [], **facts}
    return Certificate(
        id=name * 16,
        run_id=target.run_id,
        branch_id=target.branch_id,
        from_node_id=start.id,
        to_node_id=target.id,
        digest=target.state_digest,
        environment={"threads": 1},
        actor="ann",
        created_at=at,
        **given,
    )


def write(database: Database, store: Store) -> tuple[Tree, dict[str, Certificate]]:
    tree, (_root, ten, twenty, thirty, fork, last) = make_forked_tree(database, store)
    made = {
        "a": certificate(ten, twenty, "a", 1.0),
        "b": certificate(twenty, thirty, "b", 3.0, untested=["8 threads"]),
        "c": certificate(ten, thirty, "c", 2.0),
        "d": certificate(
            fork,
            last,
            "d",
            1.0,
            difference={"name": "w", "kind": "tensor", "expected": "1", "found": "2"},
        ),
    }
    with database.transaction() as connection:
        for one in made.values():
            certificates.add(connection, one, 20)
    return tree, made


def test_a_certificate_comes_back_as_it_was(database: Database, store: Store) -> None:
    _tree, made = write(database, store)
    with database.read() as connection:
        assert {key: certificates.find(connection, key * 16) for key in "abcd"} == made
        assert certificates.find(connection, "e" * 16) is None


def test_the_newest_of_each_branch_is_found(database: Database, store: Store) -> None:
    tree, made = write(database, store)
    newest = {tree.branches["main"].id: made["b"], tree.branches["cooler"].id: made["d"]}
    with database.read() as connection:
        (outline,) = tree_outline.trees(connection, [tree.run.name]).values()
    assert outline.certificates == newest


def test_a_branch_without_one_has_none(database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(database, store)
    with database.read() as connection:
        assert tree_outline.trees(connection, [tree.run.id])[tree.run.id].certificates == {}


def test_the_log_says_what_came_of_each(database: Database, store: Store) -> None:
    tree, made = write(database, store)
    with database.read() as connection:
        told = [one for one in audit.since(connection, tree.run.id) if one.kind == "certificate"]
        assert audit.first_broken_seq(connection, tree.run.id) is None
    assert [(one.ref, one.state) for one in told] == [
        (made["a"].id, "exact"),
        (made["b"].id, "equal"),
        (made["c"].id, "exact"),
        (made["d"].id, "differs"),
    ]
    assert "8 threads" in told[1].reason and "the tensor w differs" in told[3].reason


def test_not_a_number_is_written_too(database: Database, store: Store) -> None:
    _tree, made = write(database, store)
    difference = {"name": "lr", "kind": "settings", "expected": 1.0, "found": float("nan")}
    with database.transaction() as connection:
        certificates.add(connection, replace(made["a"], id="f" * 16, difference=difference), 20)
    with database.read() as connection:
        found = certificates.find(connection, "f" * 16)
    assert found is not None and found.difference is not None
    assert math.isnan(found.difference["found"])
