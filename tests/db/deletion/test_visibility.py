"""What lies in the trash appears in no list and is found by no search."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from branchtrack.checkpoints.packs import Store
from branchtrack.db import nodes, runs
from branchtrack.db.deletion import trash, visibility
from branchtrack.db.engine import Database
from branchtrack.db.tables import runs as run_rows
from branchtrack.db.views import run_list, tree_nodes, tree_outline
from branchtrack.errors import NotFound
from tests.trees_for_tests import make_forked_tree


def test_a_branch_in_the_trash_is_nowhere(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        trash.put(connection, [tree.branches["cooler"]], actor="ann", why="")
    with database.read() as connection:
        outline = tree_outline.trees(connection, ["demo"])["demo"]
        assert [branch.name for branch in outline.branches] == ["main"]
        assert {segment.branch_id for segment in outline.segments.values()} == {
            tree.branches["main"].id
        }
        listed = [node.id for node in tree_nodes.node_summaries(connection, tree.run.id)]
        assert listed == [node.id for node in line[:4]]
        page = tree_nodes.read(connection, tree.run.id, limit=50)
        assert page.count == 4 and len(page.page) == 4
        (summary,) = run_list.find_runs(connection)
        assert (summary.branches, summary.nodes) == (1, 4)
        assert nodes.children(connection, line[1].id, listed=True) == [line[2]]
        assert set(tree_outline.branches_of(connection, [tree.run.id])) == {
            tree.branches["main"].id
        }
        for ref in ("demo/cooler", tree.branches["cooler"].id):
            with pytest.raises(NotFound, match=r"restore"):
                runs.find_branch(connection, ref)
        for ref in (line[5].id, "demo/cooler", "demo/cooler@20"):
            with pytest.raises(NotFound, match=r"`branchtrack restore demo/cooler` brings it back"):
                nodes.find(connection, ref)


def test_a_run_in_the_trash_is_nowhere(database: Database, store: Store) -> None:
    tree, line = make_forked_tree(database, store)
    with database.transaction() as connection:
        trash.put(connection, [tree.run], actor="ann", why="")
    with database.read() as connection:
        assert run_list.find_runs(connection) == run_list.created_runs(connection, 5) == []
        assert runs.count_runs(connection) == 0
        assert connection.execute(select(run_rows).where(visibility.RUNS)).all() == []
        for ref in ("demo", tree.run.id):
            with pytest.raises(NotFound, match=r"restore"):
                runs.find_run(connection, ref)
        assert runs.find_run(connection, "demo", trashed=True).id == tree.run.id
        with pytest.raises(NotFound, match=r"`branchtrack restore demo` brings it back"):
            nodes.find(connection, line[0].id)
        with pytest.raises(NotFound):
            tree_outline.trees(connection, ["demo"])


def test_the_name_of_a_run_in_the_trash_stays_taken(database: Database, store: Store) -> None:
    tree, _ = make_forked_tree(database, store)
    with database.transaction() as connection:
        trash.put(connection, [tree.run], actor="ann", why="")
        assert runs.create_run(connection, "demo", actor="ann").name == "demo-2"
