"""Of a live page, only what the browser does not show yet is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from flask import Flask

from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.web.charts.timeline import Drawing
from branchtrack.web.charts.wall import Look
from branchtrack.web.pages.live_part import RowChanges, Sent
from branchtrack.web.svg.timeline import Domain, Lane


@contextmanager
def address(live_only: bool = True, **query: str) -> Iterator[Sent]:
    """What is sent to a page with an address of that query."""
    with Flask(__name__).test_request_context("/", query_string=query):
        yield Sent(live_only)


def lane(name: str, end: int = 10) -> Lane:
    return Lane(name, 0, 0, end, None, True, ())


def drawing(*lanes: Lane, high: int = 100) -> Drawing:
    return Drawing(lanes, Domain(0, high), "")


def row(number: int, value: float = 1.0) -> Any:
    node = SimpleNamespace(id=f"{number:016x}"[::-1], effective=None, compared=None)
    branch = SimpleNamespace(name="main")
    return SimpleNamespace(
        node=node,
        branch=branch,
        origin="",
        verdict=None,
        value=value,
        delta=None,
        gutter=None,
        first_id=node.id,
        size=1,
        forks=(),
    )


def sent_rows(*rows: Any) -> str:
    with address() as sent:
        sent.changed_rows("loss", TreeNodes(), rows)
        return sent.each_row


def changes(before: str, *rows: Any, live_only: bool = True) -> RowChanges | None:
    with address(live_only, each_row=before) as sent:
        return sent.changed_rows("loss", TreeNodes(), rows)


def test_the_lanes_that_changed_are_sent_alone() -> None:
    before = drawing(lane("a"), lane("b"))
    with address() as sent:
        assert sent.changed_lanes(before, [1, 2]) is None
    with address(each_lane=sent.each_lane) as later:
        assert later.changed_lanes(before, [1, 2]) == []
        assert later.changed_lanes(before, [1, 3]) == [1]
        assert later.changed_lanes(drawing(lane("a", 11), lane("b")), [1, 2]) == [0]


def test_another_axis_or_another_branch_has_all_lanes_sent() -> None:
    with address() as sent:
        sent.changed_lanes(drawing(lane("a")), [1])
    with address(each_lane=sent.each_lane) as later:
        assert later.changed_lanes(drawing(lane("a"), high=200), [1]) is None
        assert later.changed_lanes(drawing(lane("a"), lane("b")), [1, 2]) is None


def test_new_rows_stand_above_those_that_the_browser_has() -> None:
    first, second, third = row(1), row(2), row(3)
    before = sent_rows(second, first)
    assert changes(before, third, second, first) == RowChanges([], [(third, None)], [])
    changed = row(1, 0.5)
    assert changes(before, second, changed) == RowChanges([], [], [changed])


def test_rows_that_moved_to_the_next_page_go() -> None:
    first, second, third = row(1), row(2), row(3)
    gone = [first.node.id[:6]]
    found = changes(sent_rows(second, first), third, second)
    assert found == RowChanges(gone, [(third, None)], [])


def test_a_row_that_has_moved_is_taken_out_and_put_where_it_is() -> None:
    a, b, c, d = (row(number) for number in range(1, 5))
    found = changes(sent_rows(a, b, c, d), a, d, b, c)
    assert found == RowChanges([d.node.id[:6]], [(d, a.node.id)], [])


def test_rows_of_another_page_are_all_sent() -> None:
    assert changes("", row(1)) is None
    assert changes("x<y", row(1)) is None
    assert changes(sent_rows(row(1)), row(1), live_only=False) is None


def test_more_rows_than_an_address_holds_are_not_told_apart() -> None:
    assert sent_rows(*map(row, range(300))) == ""


def test_charts_stay_as_long_as_they_are_of_the_same_metrics_and_look() -> None:
    with address() as sent:
        sent.check_charts(["loss"], Look())
    for live_only, names, look, is_drawn in (
        (True, ["loss"], Look(), True),
        (True, ["loss", "lr"], Look(), False),
        (True, ["loss"], Look(log=True), False),
        (False, ["loss"], Look(), False),
    ):
        with address(live_only, charts=sent.charts) as later:
            later.check_charts(names, look)
            assert later.is_drawn is is_drawn


def test_a_little_progress_leaves_the_lanes_as_they_are() -> None:
    def word(step: int) -> str:
        view: Any = SimpleNamespace(name="main", status="running", step=step, is_live=True)
        with address() as sent:
            sent.check_lanes(7, "loss", Domain(0, 2000), [view])
            return sent.lanes

    assert word(100) == word(109) != word(110)
