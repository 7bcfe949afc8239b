"""One button goes on in a branch; what cannot be is said in its form."""

from __future__ import annotations

from branchtrack.core.records import Launch
from branchtrack.db import runs
from branchtrack.db.orders import launches
from tests.web.conftest import Site

PATH = "/runs/digits/branches/main/continue"


def ordered(site: Site) -> Launch | None:
    with site.database.read() as connection:
        return launches.of_branch(connection, runs.find_branch(connection, "digits/main").id)


def test_a_branch_that_has_failed_has_a_button_that_continues_it(own: Site) -> None:
    own.lines["main"].end("failed", "The process was killed by SIGKILL.")
    button = own.get("/runs/digits").one("form", action=PATH).one("button")
    assert button["aria-label"] == "Continue main"
    answer = own.client.post(PATH)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/runs/digits#branch-main"
    launch = ordered(own)
    assert launch is not None and (launch.kind, launch.state) == ("continue", "queued")
    assert launch.actor.endswith("(web)")
    assert "main is waiting for a worker" in own.get("/runs/digits").text


def test_a_pause_that_freed_its_machine_can_be_ended_on_every_page(own: Site) -> None:
    main = own.lines["main"]
    main.end("suspended")
    assert "main is paused at step" in own.get("/runs/digits").text
    for path in ("/runs/digits", "/runs/digits/branches/main/steer", f"/nodes/{own.node('main')}"):
        own.get(path).one("form", action=PATH)
    answer = own.client.post("/runs/digits/branches/main/steer", data={"kind": "unpause"})
    assert answer.status_code == 303
    launch = ordered(own)
    assert launch is not None and launch.kind == "continue"


def test_a_branch_that_trains_is_left_alone_and_the_form_says_why(own: Site) -> None:
    page = own.post(PATH, 422, reason="again")
    assert "is being trained by process" in page.one(role="alert").text
    assert page.one("input", name="reason")["value"] == "again"
    assert ordered(own) is None


def test_fields_that_are_not_of_the_form_are_refused(own: Site) -> None:
    own.lines["main"].end("failed")
    assert "max_step" in own.post(PATH, 422, max_step="9").one(role="alert").text
    page = own.post(PATH, 422, retries="many")
    assert page.one("input", name="retries")["aria-invalid"] == "true"
    assert own.post(PATH, 422, retries="1000").one(role="alert").text
    assert ordered(own) is None


def test_the_form_says_from_where_it_goes_on(own: Site) -> None:
    own.lines["main"].end("finished")
    page = own.get(f"{PATH}?set.max_steps=900")
    assert own.node("main")[:8] in page.one("main").text
    assert page.by_role("button", "Continue main")


def test_a_form_that_is_sent_twice_continues_once_and_leads_to_the_same(own: Site) -> None:
    own.lines["main"].end("failed")
    form = {"retries": "1", "key": own.get(PATH).one("input", name="key")["value"]}
    answers = [own.client.post(PATH, data=form) for _ in range(2)]
    assert [answer.headers["Location"] for answer in answers] == ["/runs/digits#branch-main"] * 2
    with own.database.read() as connection:
        assert len(launches.unfinished(connection)) == 1
