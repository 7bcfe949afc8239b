"""A tree as pages see it."""

from __future__ import annotations

from branchtrack.core.records import Change
from branchtrack.db import nodes
from branchtrack.web.view import tree as view_tree
from tests.web.charts.test_timeline import view
from tests.web.conftest import Site


def test_branches_know_where_they_come_from_and_how_far_they_are(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0)
    found = {one.name: (one.start, one.step) for one in tree.branches}
    assert found == {
        "main": (0, 1400),
        "hot": (400, 900),
        "cooler": (400, 2000),
        "more-decay": (1200, 1760),
    }


def test_starts_are_those_that_the_database_gives(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0)
    with site.database.read() as connection:
        assert tree.starts == nodes.starts(connection, tree.run.id)


def test_bytes_that_nodes_share_are_counted_once(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0)
    assert 0 < tree.nodes.stored_bytes < tree.nodes.logical_bytes / 5


def test_states_are_counted_the_liveliest_first(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    main.grower.order(main.head, "waits")
    tree = view(own, "digits", main.grower.began + 200)
    assert view_tree.counted(tree.branches) == [("running", 1), ("waiting", 1)]
    assert [launch.branch for launch in tree.outline.launches.values()] == ["waits"]


def test_changes_are_written_in_one_line() -> None:
    changes = [Change("lr", 5e-3, 1e-3), Change("amp", None, True)]
    assert view_tree.change_words(changes) == "lr 5e-3 → 1e-3, amp – → true"
    assert (
        view_tree.change_words([Change("lr", 0.1, 0.2, 1101)]) == "lr 0.1 → 0.2 (since step 1,101)"
    )
