"""Which branches the head of a tree's page lists."""

from __future__ import annotations

import time
from collections.abc import Sequence

from branchtrack.core.records import Node
from branchtrack.db import segments
from branchtrack.db.orders import launches
from branchtrack.db.views import tree_outline
from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.web.view.branch_notices import LIVE, REASONS, TOGETHER, BranchNotices
from branchtrack.web.view.tree import BranchView, TreeView
from tests.web import seeds
from tests.web.conftest import Site


def grown(site: Site) -> tuple[seeds.Grower, Node]:
    grower = seeds.Grower(site.database, site.store, "wide")
    main = grower.line("main", 100)
    root = main.commit("root", 0)
    main.end("finished")
    return grower, root


def fail(site: Site, line: seeds.Line, launch_id: str) -> None:
    with site.database.transaction() as connection:
        for state in ("starting", "failed"):
            launches.move(connection, launch_id, state, "w", error="It ended with exit code 1.")
        segments.end(connection, line.segment.id, "failed", actor="w", error="exit code 1")


def notices(site: Site) -> BranchNotices:
    with site.database.read() as connection:
        outline = tree_outline.trees(connection, ["wide"])["wide"]
    return BranchNotices.of(TreeView(outline, TreeNodes(), time.time()).branches)


def names(views: Sequence[BranchView]) -> list[str]:
    return [view.name for view in views]


def test_many_that_wait_are_told_together_and_few_one_by_one(empty: Site) -> None:
    grower, root = grown(empty)
    for number in range(TOGETHER):
        grower.order(root, f"few-{number}")
    few = notices(empty)
    assert names(few.stopped) == ["few-0", "few-1", "few-2"] and few.waiting == []
    _line, launch = grower.order(root, "starting")
    grower.order(root, "one-more")
    with empty.database.transaction() as connection:
        launches.move(connection, launch.id, "starting", "w")
    many = notices(empty)
    assert names(many.waiting) == ["few-0", "few-1", "few-2", "one-more"]
    assert names(many.stopped) == ["starting"]


def test_of_many_that_failed_the_newest_have_their_reasons(empty: Site) -> None:
    grower, root = grown(empty)
    for number in range(REASONS + 2):
        line, launch = grower.order(root, f"bad-{number}")
        fail(empty, line, launch.id)
    said = notices(empty)
    assert names(said.other_stopped) == ["bad-0", "bad-1"]
    assert names(said.stopped) == [f"bad-{number + 2}" for number in range(REASONS)]
    page = empty.get("/runs/wide")
    assert len(page.all("div", class_="bad")) == REASONS
    assert "2 older branches failed, lost or waiting, too: bad-0, bad-1." in page.text


def test_of_many_that_train_the_newest_have_their_controls(empty: Site) -> None:
    grower, root = grown(empty)
    for number in range(LIVE + 7):
        grower.fork(root, f"live-{number}").beat()
    said = notices(empty)
    assert len(said.live) == LIVE and len(said.other_live) == 7
    page = empty.get("/runs/wide")
    assert len(page.all("details", class_="steer")) == LIVE
    words = "and 7 older branches: live-0, live-1, live-2, live-3, live-4 and 2 more"
    assert words in " ".join(page.text.split())


def test_the_page_says_once_that_many_wait(empty: Site) -> None:
    grower, root = grown(empty)
    for number in range(7):
        grower.order(root, f"b-{number}")
    banner = empty.get("/runs/wide").one("div", class_="banner")
    words = "7 branches are waiting for a worker: b-0, b-1, b-2, b-3, b-4 and 2 more."
    assert words in " ".join(banner.text.split())
    assert banner.by_role("link", "Queue")[0]["href"] == "/launches"
