"""The changes along a branch: in order, by whoever made them, and none from beside its path."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack import control
from branchtrack.analysis import interventions
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Change, Node
from branchtrack.core.replays.recording import Recording, from_text, to_text
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from tests import recordings
from tests.trees_for_tests import Tree, make_tree


@pytest.fixture
def grown(database: Database, store: Store) -> tuple[Tree, list[Node]]:
    """``main`` with a change on request at 10 and 30 and one of the script at 20, and ``warm`` from
    20, with a declared change and one on request."""
    tree = make_tree(database, store)
    nodes = [tree.node("main", 0, kind="root")]
    lower, own = Change("lr", 0.01, 0.005), Change("weight_decay", 0.0, 0.1)
    values: dict[str, float | None] = {"loss": 2.5, "stall/copy_ms": 1.0}
    nodes.append(tree.node("main", 10, nodes[0], changes=(lower,), values=values))
    recordings.carry_out(tree, "main", nodes[1], kind="set", values={"lr": "x0.5"})
    nodes.append(tree.node("main", 20, nodes[1], changes=(own,)))
    nodes.append(tree.node("main", 30, nodes[2]))
    recordings.carry_out(tree, "main", nodes[3])
    tree.branch("warm", nodes[2])
    nodes.append(tree.node("warm", 20, nodes[2], kind="fork", changes=(lower,), message="warmer"))
    nodes.append(tree.node("warm", 25, nodes[4], values={"loss": 1.5}))
    control.submit(database, "demo/warm", {"kind": "note", "text": "no change"}, actor="ann")
    recordings.carry_out(tree, "warm", nodes[5], kind="set", values={"lr": 0.5})
    return tree, nodes


def recorded(tree: Tree, name: str, **how: Any) -> Recording:
    with tree.database.read() as connection:
        return interventions.recording_of(connection, tree.branches[name], **how)


def brief(recording: Recording) -> list[tuple[Any, ...]]:
    return [(c.at.step, c.by, c.fields["values"]) for c in recording.changes]


def test_changes_are_listed_in_order_with_who_made_them(grown: tuple[Tree, list[Node]]) -> None:
    tree, nodes = grown
    recording = recorded(tree, "warm")
    assert brief(recording) == [
        (10, "request", {"lr": "x0.5"}),
        (20, "script", {"weight_decay": 0.1}),
        (20, "resume", {"lr": 0.005}),
        (25, "request", {"lr": 0.5}),
    ]
    first, _own, declared, _last = recording.changes
    assert (first.reason, first.actor, first.after) == ("why", "ann", {"lr": 0.005})
    assert first.metrics == {"loss": 2.5} and declared.reason == "warmer"
    header = recording.header
    assert (header.run, header.branch, header.node, header.step, header.steps) == (
        "demo",
        "warm",
        nodes[0].id,
        0,
        1000,
    )
    assert header.settings == nodes[0].settings
    assert [row.as_dict() for row in from_text(to_text(recording)).changes] == [
        row.as_dict() for row in recording.changes
    ]


def test_what_came_after_a_fork_is_on_its_own_branch_alone(
    grown: tuple[Tree, list[Node]],
) -> None:
    tree, _nodes = grown
    steps = [step for step, _by, _values in brief(recorded(tree, "main"))]
    assert steps == [10, 20, 30]


def test_a_recording_can_begin_at_a_node_of_the_path(grown: tuple[Tree, list[Node]]) -> None:
    tree, nodes = grown
    later = recorded(tree, "warm", start=nodes[2])
    assert later.header.node == nodes[2].id and [c.at.step for c in later.changes] == [20, 25]
    assert brief(recorded(tree, "warm", start=nodes[5])) == []
    with pytest.raises(InvalidInput, match="on the path of branch warm"):
        recorded(tree, "warm", start=nodes[3])


def test_moments_are_written_as_asked(grown: tuple[Tree, list[Node]]) -> None:
    tree, nodes = grown
    assert [c.at.fraction for c in recorded(tree, "main", by="fraction").changes] == [
        0.01,
        0.02,
        0.03,
    ]
    assert [c.at.once for c in recorded(tree, "warm", start=nodes[4], by="loss").changes] == [
        "loss<=1.5"
    ]
    with pytest.raises(InvalidInput, match="logged by step 20"):
        recorded(tree, "warm", by="loss")


def test_a_branch_that_never_trained_has_no_changes(
    grown: tuple[Tree, list[Node]], database: Database
) -> None:
    tree, nodes = grown
    tree.branch("empty", nodes[0], train=False)
    assert brief(recorded(tree, "empty")) == []
    payload = interventions.payload(recorded(tree, "main"))
    assert payload["format"] == "branchtrack-interventions" and len(payload["interventions"]) == 3
