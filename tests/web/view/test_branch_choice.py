"""Which branches of a tree are shown."""

from __future__ import annotations

import time

import pytest

from branchtrack.db.views import tree_outline
from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.errors import NotFound
from branchtrack.web.view import branch_choice
from branchtrack.web.view.branch_choice import FEW, Choice, Rating
from branchtrack.web.view.tree import TreeView
from tests.web import seeds
from tests.web.conftest import Site


@pytest.fixture
def tree(empty: Site) -> TreeView:
    """A trunk and twenty forks of it, and a fork of the last one."""
    grower = seeds.Grower(empty.database, empty.store, "wide")
    main = grower.line("main", 100)
    root = main.commit("root", 0)
    main.end("finished")
    for number in range(20):
        last = grower.fork(root, f"try-{number:02}", lr=1e-3)
        last.end("finished")
    assert last.head is not None
    grower.fork(last.head, "leaf", lr=1e-4).end("finished")
    with empty.database.read() as connection:
        return TreeView(tree_outline.trees(connection, ["wide"])["wide"], TreeNodes(), 0.0)


def rating(tree: TreeView, metric: str = "eval_loss", **values: float) -> Rating:
    by_name = {view.name: view.branch.id for view in tree.branches}
    known = {by_name[name.replace("_", "-")]: value for name, value in values.items()}
    return Rating(metric, known)


def names(tree: TreeView, choice: Choice, rated: Rating) -> list[str]:
    return [view.name for view in branch_choice.choose(tree, choice, rated)]


def test_of_many_the_trunk_and_the_best_are_shown_with_what_they_grew_from(tree: TreeView) -> None:
    rated = rating(tree, leaf=0.1, try_03=0.2, try_07=0.3)
    shown = names(tree, Choice(), rated)
    assert len(shown) == FEW
    assert {"main", "leaf", "try-19", "try-03", "try-07"} <= set(shown)
    assert shown[0] == "main"


def test_of_a_long_line_the_ends_are_shown_without_all_that_they_grew_from(empty: Site) -> None:
    grower = seeds.Grower(empty.database, empty.store, "deep")
    line = grower.line("main", 100)
    head = line.commit("root", 0)
    for number in range(30):
        line.end("finished")
        line = grower.fork(head, f"try-{number:02}", lr=1e-3)
        assert line.head is not None
        head = line.head
    with empty.database.read() as connection:
        deep = TreeView(tree_outline.trees(connection, ["deep"])["deep"], TreeNodes(), 0.0)
    shown = names(deep, Choice(), rating(deep, try_20=0.1, try_25=0.2))
    assert {"main", "try-20", "try-29"} <= set(shown) and len(shown) == FEW


def test_the_higher_is_the_better_where_the_metric_says_so(tree: TreeView) -> None:
    low, high = rating(tree, "loss", try_03=1, try_04=2), rating(tree, "acc", try_03=1, try_04=2)
    assert [view.name for view in low.best_first(tree.branches)] == ["try-03", "try-04"]
    assert [view.name for view in high.best_first(tree.branches)] == ["try-04", "try-03"]


def test_what_is_chosen_is_shown_and_nothing_else(tree: TreeView) -> None:
    assert names(tree, Choice(names=("try-01", "try-02")), Rating()) == ["try-01", "try-02"]
    assert names(tree, Choice(path="leaf"), Rating()) == ["main", "try-19", "leaf"]
    assert len(names(tree, Choice(is_all=True), Rating())) == 22
    with pytest.raises(NotFound):
        names(tree, Choice(names=("nope",)), Rating())


def test_what_is_not_shown_is_told_with_its_best(tree: TreeView) -> None:
    rated = rating(tree, try_03=0.2, try_07=0.3)
    shown = branch_choice.choose(tree, Choice(names=("main",)), rated)
    (folded,) = branch_choice.folded(tree, shown, rated)
    assert (folded.group, len(folded.branches)) == ("", 21)
    assert folded.best is not None and folded.best.name == "try-03"


def test_what_trains_comes_before_what_waits(empty: Site) -> None:
    grower = seeds.Grower(empty.database, empty.store, "busy")
    main = grower.line("main", 100)
    root = main.commit("root", 0)
    main.end("finished")
    for number in range(4):
        grower.fork(root, f"live-{number}").beat()
    for number in range(20):
        grower.order(root, f"waits-{number}")
    with empty.database.read() as connection:
        outline = tree_outline.trees(connection, ["busy"])["busy"]
    shown = names(TreeView(outline, TreeNodes(), time.time()), Choice(), Rating())
    assert {f"live-{number}" for number in range(4)} <= set(shown) and len(shown) == FEW
