"""What a page may cost: statements, and weight."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from tests.web import seeds
from tests.web.conftest import Site

MOST = 6


@contextmanager
def statements(site: Site) -> Iterator[list[str]]:
    """The SQL statements made meanwhile; where a transaction begins is not one."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, text: str, *_: Any) -> None:
        if not text.startswith(("BEGIN", "PRAGMA")):
            seen.append(text)

    event.listen(site.database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(site.database.engine, "before_cursor_execute", note)


def pages(site: Site) -> dict[str, str]:
    node = site.node("more-decay")
    return {
        "runs": "/",
        "runs with a search": "/runs?q=gpt",
        "tree": "/runs/gpt2-docs",
        "tree of a metric": "/runs/gpt2-docs?metric=lr&branch=cooler&y=log",
        "node": f"/nodes/{node}",
        "node by prefix": f"/nodes/{node[:8]}",
        "compare": "/compare?a=gpt2-docs/main&b=gpt2-docs/cooler",
        "compare of a metric": "/compare?a=gpt2-docs/main&b=gpt2-docs/hot&metric=lr&x=time",
        "resume": f"/nodes/{node}/resume",
        "stop": "/runs/gpt2-docs/branches/more-decay/stop",
        "steer": "/runs/gpt2-docs/branches/more-decay/steer",
        "audit": "/runs/gpt2-docs/audit",
    }


@pytest.mark.parametrize("name", ["runs", "runs with a search", "tree", "tree of a metric", "node",
                                  "node by prefix", "compare", "compare of a metric", "resume",
                                  "stop", "steer", "audit"])  # fmt: skip
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


@pytest.mark.parametrize("name", ["runs", "tree", "node", "compare", "resume", "steer", "audit"])
def test_a_page_weighs_little(site: Site, name: str) -> None:
    html = site.client.get(pages(site)[name]).data
    assert len(html) <= 150_000
    assert len(gzip.compress(html, 5)) <= 50_000
