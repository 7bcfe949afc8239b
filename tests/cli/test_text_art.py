"""Trees and curves in characters."""

from __future__ import annotations

import math
import re
import socket
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from branchtrack.analysis import payloads
from branchtrack.checkpoints.packs import Store
from branchtrack.cli.output import echo
from branchtrack.cli.text_art import folded, plot, tree_lines
from branchtrack.core.records import Node
from branchtrack.db import nodes
from branchtrack.db import segments as rows
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups
from branchtrack.db.tables import segments
from branchtrack.processes import own_name
from tests.control.trials import samples
from tests.trees_for_tests import Tree, make_tree

Forked = tuple[Tree, list[Node]]


def drawn(tree: Tree) -> list[str]:
    with tree.database.read() as connection:
        return [_plain(line) for line in tree_lines(payloads.tree(connection, tree.run))]


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_forked_tree_has_two_lanes_that_join(forked: Forked) -> None:
    lines = drawn(forked[0])
    gutters = [line[:4].rstrip() for line in lines[3:]]
    assert gutters == ["●", "◇", "│ ■", "│ ◆", "●─╯", "○"]


def test_branches_are_named_with_state_and_origin(forked: Forked) -> None:
    tree, made = forked
    lines = drawn(tree)
    assert lines[0] == "  main: training, step 30 of 1,000"
    assert lines[1] == f"  cooler: training, step 20 of 1,000, from node {made[1].id[:8]}"


def test_a_fork_whose_restore_differs_says_so(forked: Forked) -> None:
    tree, made = forked
    (fork,) = (node for node in made if node.kind == "fork")
    with tree.database.transaction() as connection:
        nodes.set_compared(connection, fork.id, {"state": "differs", "differences": []})
    assert [line for line in drawn(tree) if "restore differs" in line and fork.id[:8] in line]


def test_a_branch_tells_why_it_ended_and_which_saves_it_missed(forked: Forked) -> None:
    tree, _ = forked
    missed = {"due": 40, "made": 33, "missed": [*range(3, 10)]}
    with tree.database.transaction() as connection:
        segment = tree.segment("main").id
        rows.heartbeat(connection, segment, 30, None, {}, saves=missed)
        rows.end(connection, segment, "stopped", actor="run", error="SIGTERM at step 30")
    with tree.database.read() as connection:
        assert payloads.tree(connection, tree.run)["branches"][0]["saves"] == missed
    assert drawn(tree)[0] == (
        "  main: stopped, step 30 of 1,000, 7 of 40 saves were not made (due at step 3, 4, 5, 6, 7 "
        "and 2 more): SIGTERM at step 30"
    )


def test_a_node_tells_what_it_changed_and_why(forked: Forked) -> None:
    line = next(line for line in drawn(forked[0]) if "◆" in line)
    assert "lr 0.01 → 0.02: why" in line and "step 20" in line and "intervention" in line


def test_columns_are_aligned(forked: Forked) -> None:
    lines = drawn(forked[0])[3:]
    assert len({line.index("step") for line in lines}) == 1


def test_three_branches_of_one_node_join_there(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    root = tree.node("main", 0, kind="root")
    tree.node("main", 10, root)
    for name in ("a", "b"):
        tree.branch(name, root)
        tree.node(name, 10, root)
    assert [line[:6].rstrip() for line in drawn(tree)[4:]] == ["●", "│ ●", "│ │ ●", "○─┴─╯"]


def test_a_lane_that_passes_a_join_is_crossed(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    root = tree.node("main", 0, kind="root")
    ten = tree.node("main", 10, root)
    tree.branch("low", root)
    tree.node("low", 5, root)
    tree.branch("high", ten)
    tree.node("high", 15, ten)
    tree.node("main", 20, ten)
    gutters = [line[:6].rstrip() for line in drawn(tree)[4:]]
    assert len(gutters) == 5
    assert gutters[-1].startswith("○")


def test_a_tree_without_nodes_says_so(sqlite_database: Database, store: Store) -> None:
    assert drawn(make_tree(sqlite_database, store))[-1] == "No nodes yet."


def test_colours_can_be_refused(forked: Forked, monkeypatch: pytest.MonkeyPatch) -> None:
    with forked[0].database.read() as connection:
        tree = payloads.tree(connection, forked[0].run)

    @click.command()
    def show() -> None:
        echo("\n".join(tree_lines(tree)))

    assert "\x1b" in CliRunner().invoke(show, color=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in CliRunner().invoke(show, color=True).stdout


def test_a_rising_curve_goes_from_bottom_left_to_top_right() -> None:
    lines = plot(list(range(100)), [float(i) for i in range(100)], [], columns=10, rows=5)
    assert lines[0].strip().startswith("99.00 ┤") and lines[4].strip().startswith("0.000 ┤")
    assert lines[0][-1] != "\u2800" and lines[0][-10] == "\u2800"
    assert lines[4][-10] != "\u2800" and lines[4][-1] == "\u2800"


def test_forks_are_marked_below() -> None:
    lines = plot([0, 50, 100], [1.0, 2.0, 3.0], [50], columns=11)
    assert lines[-3].endswith("─────┴─────")
    assert lines[-1].strip() == "forks at 50"


def test_a_curve_of_gaps_alone_says_so() -> None:
    assert plot([1, 2], [math.nan, math.inf], []) == ["No finite value to draw."]
    assert plot([], [], []) == ["No finite value to draw."]


@given(
    st.lists(st.floats(), min_size=1),
    st.integers(0, 10**12),
)
def test_any_curve_can_be_drawn(values: list[float], start: int) -> None:
    steps = list(range(start, start + 3 * len(values), 3))
    lines = plot(steps, values, [start], columns=20, rows=4)
    if len(lines) > 1:
        assert len({len(line) for line in lines[:5]}) == 1


@pytest.mark.parametrize(("pid", "word"), [("", "silent"), ("999999999:0", "gone")])
def test_a_lost_branch_says_what_is_known_of_its_process(
    forked: Forked, pid: str, word: str
) -> None:
    tree = forked[0]
    name = own_name() if not pid else f"{socket.gethostname()}:{pid}"
    with tree.database.transaction() as connection:
        connection.execute(segments.update().values(heartbeat_at=1.0, process=name))
    assert drawn(tree)[0] == f"  main: lost (its process is {word}), step 30 of 1,000"


def test_a_branch_tells_its_group(forked: Forked) -> None:
    tree, _ = forked
    with tree.database.transaction() as connection:
        group = groups.create(connection, tree.run.id, "rates", "values", actor="me")
        groups.add_branch(connection, group, tree.branches["cooler"])
    assert drawn(tree)[1].startswith("  cooler (group rates): training")


def tried(sqlite_database: Database, store: Store) -> tuple[Tree, dict[str, Any]]:
    """A run with a settled trial of an intervention, as its tree."""
    tree, _ = samples.grown(sqlite_database, store)
    order = {"nodes": ["demo@20"], "intervention": True, "repeats": 3}
    trial = samples.ordered(sqlite_database, store, **order)
    samples.train_all(sqlite_database, store, trial, (2.0, 1.9), (2.1, 1.99), (2.05, 1.96))
    with sqlite_database.read() as connection:
        return tree, payloads.tree(connection, tree.run)


def test_a_trial_is_one_line_and_its_branches_are_folded(
    sqlite_database: Database, store: Store
) -> None:
    _tree, whole = tried(sqlite_database, store)
    lines = [_plain(line) for line in tree_lines(folded(whole))]
    assert lines[1].startswith("  trial ") and lines[1].endswith(
        ": lr 0.01 → 0.02 at step 20: helps −0.100, 3 pairs"
    )
    assert not [line for line in lines if "trial-lr" in line]
    assert [_plain(line) for line in tree_lines(whole) if "trial-lr" in line]


def test_the_change_that_was_tried_has_its_verdict(sqlite_database: Database, store: Store) -> None:
    _tree, whole = tried(sqlite_database, store)
    (line,) = [_plain(line) for line in tree_lines(folded(whole)) if "◆" in line]
    assert line.endswith("lr 0.01 → 0.02  [helps −0.100]")


def test_a_branch_of_a_trial_that_others_grew_from_is_not_folded(
    sqlite_database: Database, store: Store
) -> None:
    tree, whole = tried(sqlite_database, store)
    name = next(branch["name"] for branch in whole["branches"] if branch["group"])
    head = next(branch["head"] for branch in whole["branches"] if branch["name"] == name)
    with sqlite_database.read() as connection:
        node = nodes.get(connection, head)
    tree.branch("kept", node)
    with sqlite_database.read() as connection:
        shown = folded(payloads.tree(connection, tree.run))
    assert [branch["name"] for branch in shown["branches"]] == ["main", name, "kept"]
