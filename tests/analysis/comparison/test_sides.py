"""References are read at once where they are exact, and each by itself where they are not."""

from __future__ import annotations

import pytest

from branchtrack.analysis.comparison.sides import Directory, Side
from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Node
from branchtrack.db import runs
from branchtrack.db.deletion import trash
from branchtrack.db.engine import Database
from branchtrack.db.orders import groups
from branchtrack.errors import NotFound
from tests.control.trials import samples
from tests.trees_for_tests import Tree, make_forked_tree, make_tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture
def forked(database: Database, store: Store) -> Forked:
    return make_forked_tree(database, store)


def side(tree: Tree, ref: str) -> Side:
    with tree.database.read() as connection:
        return Directory(connection, [ref]).side(ref)


def test_a_branch_is_named_by_itself_by_its_run_or_by_its_id(forked: Forked) -> None:
    tree, nodes = forked
    main, cooler = nodes[3].id, nodes[-1].id
    branch_id, run_id = tree.branches["cooler"].id, tree.run.id
    heads = {
        "demo/main": main,
        "demo": main,
        f"{run_id}/cooler": cooler,
        f"{run_id[:8]}/cooler": cooler,
        run_id: main,
        branch_id: cooler,
        branch_id[:8]: cooler,
    }
    for ref, head in heads.items():
        named = side(tree, ref)
        assert (named.head_id, named.is_node, named.run.name) == (head, False, "demo"), ref


def test_a_node_is_named_by_its_id_or_by_its_step(forked: Forked) -> None:
    tree, nodes = forked
    for ref in (nodes[1].id, nodes[1].id[:8], "demo@10"):
        named = side(tree, ref)
        assert (named.head_id, named.is_node) == (nodes[1].id, True), ref
        assert named.branch.name == "main"


def test_a_run_whose_name_could_be_an_id_is_still_one(database: Database, store: Store) -> None:
    for name in ("feed", "feedfeedfeedfeed"):
        tree = make_tree(database, store, name)
        assert side(tree, name).run.id == tree.run.id


def test_what_is_in_the_trash_or_nowhere_is_refused(forked: Forked) -> None:
    tree, nodes = forked
    with tree.database.transaction() as connection:
        branch = runs.get_branch(connection, tree.branches["cooler"].id)
        trash.put(connection, [branch], actor="ann", why="")
    for ref in ("demo/cooler", branch.id):
        with pytest.raises(NotFound, match="in the trash"):
            side(tree, ref)
    for ref in (nodes[-1].id, nodes[-1].id[:8]):
        with pytest.raises(NotFound, match="There is no node.*in the trash.*restore demo/cooler"):
            side(tree, ref)
    for ref in ("demo/nope", "nope", "nope/main", "demo@11", "ffff" * 4):
        with pytest.raises(NotFound):
            side(tree, ref)


def test_members_of_a_group_are_its_branches(forked: Forked) -> None:
    tree, _nodes = forked
    tree.branch("third")
    with tree.database.transaction() as connection:
        group = groups.create(connection, tree.run.id, "sweep", "values", actor="ann")
        groups.create(connection, tree.run.id, "empty", "values", actor="ann")
        for name in ("cooler", "main", "third"):
            groups.add_branch(connection, group, tree.branches[name])
        trash.put(connection, [tree.branches["third"]], actor="ann", why="")
    refs = ("demo/sweep", f"{tree.run.id[:8]}/sweep", "demo/nope", "demo/empty", "nope/sweep")
    with tree.database.read() as connection:
        directory = Directory(connection, [], refs)
        for ref in refs[:2]:
            assert directory.members(ref) == {"demo/sweep": ["demo/main", "demo/cooler"]}
        with pytest.raises(NotFound) as missing:
            directory.members("demo/nope")
        assert missing.value.facts["near"] == ("demo/sweep", "demo/empty")
        for ref in refs[3:]:
            with pytest.raises(NotFound):
                directory.members(ref)


def test_a_trial_is_its_sides_and_what_a_killed_process_left_is_in_none(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store, repeats=3, name="half")
    tree.branch("left-over")
    with sqlite_database.transaction() as connection:
        (group,) = groups.of_run(connection, tree.run.id)
        groups.add_branch(connection, group, tree.branches["left-over"])
    with sqlite_database.read() as connection:
        members = Directory(connection, [], ["demo/half"]).members("demo/half")
    sides = {
        word: [f"demo/{pair.sides[index].branch}" for pair in trial.pairs if pair.sides[index]]
        for index, word in enumerate(["control", "changed"])
    }
    assert members == {f"demo/{word} of half": names for word, names in sides.items()}
