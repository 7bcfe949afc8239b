"""What a page may cost: statements, and weight."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from branchtrack.db import segments
from branchtrack.db.orders import groups
from branchtrack.db.storage import texts
from tests.web import dom, seeds
from tests.web.conftest import Site

MOST = 6


@contextmanager
def statements(site: Site) -> Iterator[list[str]]:
    """The SQL statements made meanwhile; where a transaction begins is not one."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, text: str, *_: Any) -> None:
        # The head's count is made once in some seconds, for all pages together.
        if not text.startswith(("BEGIN", "PRAGMA", "SELECT count(*) AS unseen")):
            seen.append(text)

    event.listen(site.database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(site.database.engine, "before_cursor_execute", note)


def eight(refs: Sequence[str]) -> str:
    """The page that compares eight branches or nodes."""
    assert len(refs) == 8
    return f"/compare?a={refs[0]}&b={refs[1]}&" + "&".join(f"with={ref}" for ref in refs[2:])


def pages(site: Site) -> dict[str, str]:
    node = site.node("more-decay")
    branches = [f"gpt2-docs/{name}" for name in site.lines]
    return {
        "runs": "/",
        "runs with a search": "/runs?q=gpt",
        "runs filtered": "/runs?q=lr>0+best(eval_loss)<9&sort=-lr&by=status&columns=lr,trend,x",
        "runs to delete": f"/runs/delete?run={site.lines['main'].grower.run.id}",
        "tree": "/runs/gpt2-docs",
        "tree of a metric": "/runs/gpt2-docs?metric=lr&branch=cooler&y=log",
        "node": f"/nodes/{node}",
        "node by prefix": f"/nodes/{node[:8]}",
        "compare": "/compare?a=gpt2-docs/main&b=gpt2-docs/cooler",
        "compare of a metric": "/compare?a=gpt2-docs/main&b=gpt2-docs/hot&metric=lr&x=time",
        "compare of several": eight([*branches, *map(site.node, site.lines)]),
        "weights": "/compare/weights?a=gpt2-docs/main&b=gpt2-docs/cooler",
        "weights of nodes": f"/compare/weights?a={site.node('main')}&b={node}",
        "resume": f"/nodes/{node}/resume",
        "stop": "/runs/gpt2-docs/branches/more-decay/stop",
        "steer": "/runs/gpt2-docs/branches/more-decay/steer",
        "audit": "/runs/gpt2-docs/audit",
        "alerts": "/runs/gpt2-docs/alerts",
        "agents": "/agents",
        "queue": "/launches",
        "manage": "/runs/gpt2-docs/branches/cooler/manage",
        "trash": "/trash",
        "data": "/runs/gpt2-docs/branches/cooler/data",
        "alerts of all runs": "/alerts",
        "tokens": "/tokens",
    }


@pytest.mark.parametrize(
    "name",
    [
        "runs",
        "runs with a search",
        "runs filtered",
        "runs to delete",
        "tree",
        "tree of a metric",
        "node",
        "node by prefix",
        "compare",
        "compare of a metric",
        "compare of several",
        "weights",
        "weights of nodes",
        "resume",
        "stop",
        "steer",
        "audit",
        "alerts",
        "agents",
        "queue",
        "manage",
        "trash",
        "data",
        "alerts of all runs",
        "tokens",
    ],
)
def test_a_page_makes_at_most_six_statements(site: Site, name: str) -> None:
    with statements(site) as seen:
        site.get(pages(site)[name])
    assert 0 < len(seen) <= MOST, seen


def test_a_tree_with_a_launch_that_waits_stays_in_its_budget(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    main.grower.order(main.head, "waits")
    with statements(own) as seen:
        own.get("/runs/digits")
    assert len(seen) <= MOST, seen


def test_two_runs_are_compared_in_as_few_statements(own: Site) -> None:
    other = seeds.Grower(own.database, own.store, "other").line("main")
    other.log("loss", [1, 2], [2.0, 1.0])
    with statements(own) as seen:
        own.get("/compare?a=digits/main&b=other/main")
    assert len(seen) <= MOST, seen


@pytest.mark.parametrize("are_nodes", [False, True])
def test_eight_branches_are_compared_in_as_few_statements(own: Site, are_nodes: bool) -> None:
    main = own.lines["main"]
    main.draw(50)
    assert main.head is not None
    lines = [main] + [main.grower.fork(main.head, f"try-{number}") for number in range(7)]
    with own.database.transaction() as connection:
        group = groups.create(connection, main.grower.run.id, "tries", "values", actor="ann")
        for number, line in enumerate(lines):
            code = {"packages": texts.put(connection, f"torch==2.{number}")}
            segments.set_code(connection, line.segment.id, code)
            groups.add_branch(connection, group, line.branch)
    for line in lines:
        line.log("loss", [line.step + 1, line.step + 2], [1.0, 0.5])
    heads = [line.head.id for line in lines if line.head]
    refs = heads if are_nodes else [f"digits/{line.branch.name}" for line in lines]
    group_page = "/compare?group=digits/tries"
    titles = {
        eight(refs): "8 side by side",
        group_page: "8 side by side",
        f"{group_page}&bands=1": "1 side by side",
        f"/compare/weights?a={refs[0]}&b={refs[7]}": "Weights of",
    }
    for address, title in titles.items():
        with statements(own) as seen:
            assert own.get(address).one("h1").text.startswith(title)
        assert len(seen) <= MOST, (address, seen)


def test_the_live_part_makes_as_few_even_where_all_has_changed(site: Site) -> None:
    headers = {"HX-Request": "true", "HX-Target": "div#live"}
    live = site.get("/runs/gpt2-docs").one(id="live")["hx-get"]
    for path, most in ((live, 5), ("/runs/gpt2-docs?drawn=4.loss", MOST)):
        with statements(site) as seen:
            site.client.get(path, headers=headers)
        assert len(seen) <= most, seen


def test_the_number_of_runs_does_not_matter(empty: Site) -> None:
    for number in range(12):
        line = seeds.Grower(empty.database, empty.store, f"r{number}").line("main")
        line.log("loss", [1, 2, 3], [3.0, 2.0, 1.0])
    with statements(empty) as seen:
        assert len(empty.get("/").table("Runs")) == 12
    assert len(seen) <= MOST, seen


@pytest.mark.parametrize(
    "name", ["runs", "tree", "node", "compare", "resume", "steer", "audit", "alerts", "queue"]
)
def test_a_page_weighs_little(site: Site, name: str) -> None:
    html = site.client.get(pages(site)[name]).data
    assert len(html) <= 150_000
    assert len(gzip.compress(html, 5)) <= 50_000


def test_a_tree_of_hundreds_of_nodes_is_read_and_sent_in_part(empty: Site) -> None:
    main = seeds.Grower(empty.database, empty.store, "big").line("main", 9000)
    seeds.many(main, 400)
    main.log("loss", range(1, 4001), [1.0] * 4000)
    main.beat()
    assert main.head is not None
    with rows_read(empty) as read:
        page = empty.client.get("/runs/big")
    # A page of the log and its marks, and points in blocks; not every node or point.
    assert len(page.data) <= 150_000 and read[0] <= 1_500
    live = dom.parse(page.get_data(as_text=True)).one(id="live")["hx-get"]
    headers = {"HX-Request": "true", "HX-Target": "div#live"}
    with rows_read(empty) as read:
        assert len(empty.client.get(live, headers=headers).data) <= 8_000
    assert read[0] <= 120
    for path in (f"/nodes/{main.head.id}/resume", "/runs/big/branches/main/steer"):
        with rows_read(empty) as read:
            empty.get(path)
        assert read[0] <= 250, path


@contextmanager
def rows_read(site: Site) -> Iterator[list[int]]:
    """How many rows SQLite gave meanwhile, in all."""
    read = [0]

    def factory(_cursor: Any, row: Any) -> Any:
        read[0] += 1
        return row

    def watch(_connection: Any, cursor: Any, *_: Any) -> None:
        cursor.row_factory = factory

    event.listen(site.database.engine, "before_cursor_execute", watch)
    try:
        yield read
    finally:
        event.remove(site.database.engine, "before_cursor_execute", watch)
