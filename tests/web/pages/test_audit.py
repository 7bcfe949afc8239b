"""The log of a run, as a page."""

from __future__ import annotations

from branchtrack.db.tables import events
from branchtrack.web.pages import audit
from tests.web.conftest import Site
from tests.web.test_budgets import statements

PATH = "/runs/digits/audit"


def lines(site: Site, address: str = PATH) -> list[str]:
    return [row["line"] for row in site.get(address).table("Events")]


def test_events_come_newest_first_and_by_pages(own: Site) -> None:
    for _ in range(60):
        own.lines["main"].ask({"kind": "checkpoint"}, "again")
    with statements(own) as seen:
        page = own.get(PATH)
    assert len(seen) <= 4
    first = [int(row["line"]) for row in page.table("Events")]
    assert first == list(range(first[0], first[0] - audit.PAGE, -1))
    older = page.by_role("link", "Older events")[0]["href"]
    assert int(lines(own, older)[0]) == first[-1] - 1


def test_events_are_found_by_kind_actor_and_request(own: Site) -> None:
    own.lines["main"].ask({"kind": "checkpoint"}, "first", "applied done", step=40)
    own.lines["main"].ask({"kind": "evaluate"}, "second")
    rows = own.get(PATH + "?kind=request").table("Events")
    assert len(rows) == 6 and all(row["what"].startswith("request") for row in rows)
    assert len(lines(own, PATH + "?kind=request&actor=trainer")) == 2
    link = next(
        one["href"] for one in own.get(PATH).all("a", class_="id") if "request=" in one["href"]
    )
    assert [row["state"] for row in own.get(link).table("Events")] == ["accepted", "received"]
    own.get(PATH + "?request=ffff", 404)
    own.get(PATH + "?kind=nope", 422)


def test_the_chain_is_verified_on_demand(own: Site) -> None:
    link = own.get(PATH).by_role("link", "Verify the chain")[0]["href"]
    said = own.get(link).one(role="status")
    assert "holds" in said.text and "good" in said.classes
    with own.database.transaction() as connection:
        (last,) = connection.execute(
            events.select().where(events.c.kind == "node", events.c.step == 40)
        )
        connection.execute(events.delete().where(events.c.seq >= last.seq))
    assert "differs from the last events" in own.get(link).one(role="alert").text
    with own.database.transaction() as connection:
        connection.execute(events.update().where(events.c.seq == 2).values(actor="nobody"))
    assert "from event 2 on" in own.get(link).one(role="alert").text
