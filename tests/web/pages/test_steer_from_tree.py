"""Steering a branch from the tree page."""

from __future__ import annotations

from branchtrack.core.records import Request
from branchtrack.db import requests, runs
from tests.web.conftest import Site

PATH = "/runs/digits/branches/main/steer?back=tree"


def asked(own: Site) -> list[Request]:
    with own.database.read() as connection:
        run = runs.find_run(connection, "digits")
        return requests.list_of_run(connection, run.id)


def test_a_changed_setting_becomes_a_request_and_nothing_more(own: Site) -> None:
    form = {"kind": "set", "set.lr": "3e-4", "set.weight_decay": "0.01", "reason": "noisy"}
    answer = own.client.post(PATH, data=form)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/runs/digits#requests"
    request = asked(own)[0]
    assert (request.kind, request.state, request.reason) == ("set", "accepted", "noisy")
    assert request.requested == {"values": {"lr": 3e-4}}
    assert request.actor.endswith("(web)")
    page = own.get("/runs/digits")
    assert page.table("Requests")[0]["state"] == "waiting for the trainer"
    assert "now 5e-3" in page.one("details", class_="steer").text


def test_the_state_follows_what_the_trainer_answers(own: Site) -> None:
    main = own.lines["main"]
    main.ask({"kind": "set", "values": {"lr": 3e-4}}, "noisy", "applied", step=41)
    assert own.get("/runs/digits").table("Requests")[0]["state"] == "applied"
    main.ask({"kind": "evaluate"}, "", "applied done", step=42, result={"eval_loss": 0.61})
    row = own.get("/runs/digits").table("Requests")[0]
    assert (row["state"], row["step"]) == ("done", "42")
    assert "eval_loss 0.610" in row["what"]


def test_a_request_that_failed_says_why(own: Site) -> None:
    own.lines["main"].ask({"kind": "evaluate"}, "", "failed", error="There is no data to use.")
    row = own.get("/runs/digits").table("Requests")[0]
    assert row["state"] == "failed"
    assert "There is no data to use." in row["what"]


def test_actions_are_asked_for_by_their_own_buttons(own: Site) -> None:
    for kind in ("checkpoint", "evaluate", "stop"):
        assert own.client.post(PATH, data={"kind": kind}).status_code == 303
    assert [one.kind for one in asked(own)] == ["stop", "evaluate", "checkpoint"]


def test_a_value_that_is_not_allowed_comes_back_with_the_form(own: Site) -> None:
    page = own.post(PATH, 422, kind="set", set_lr="-1", reason="mistaken")
    panel = page.one("details", class_="steer")
    assert "open" in panel.attributes
    assert panel.field("lr")["value"] == "-1"
    assert panel.field("lr")["aria-invalid"] == "true"
    assert panel.field("Why")["value"] == "mistaken"
    assert "greater than 0" in panel.one(role="alert").text
    assert asked(own)[0].state == "rejected"


def test_a_form_without_any_change_is_refused(own: Site) -> None:
    page = own.post(PATH, 422, kind="set", set_lr="0.005")
    assert "No value was changed." in page.one(role="alert").text
    assert [one.state for one in asked(own)] == ["rejected"]


def test_an_unknown_kind_is_refused(own: Site) -> None:
    page = own.post(PATH, 422, kind="explode")
    assert "pause, unpause, stop" in page.one(role="alert").text
    assert [one.state for one in asked(own)] == ["rejected"]


def test_a_branch_that_nobody_trains_cannot_be_steered(own: Site) -> None:
    own.lines["main"].end("finished")
    page = own.post(PATH, 409, kind="checkpoint")
    assert "Nothing trains digits/main now" in page.one("h1").text
    own.post("/runs/digits/branches/nope/steer?back=tree", 404, kind="checkpoint")


def test_stopping_is_confirmed_on_a_page_of_its_own(own: Site) -> None:
    link = own.get("/runs/digits").by_role("link", "Stop")[0]["href"]
    page = own.get(link)
    assert page.one("h1").text == "Stop main?"
    form = page.one("form", class_="form")
    assert (form["method"], form["action"]) == ("post", PATH)
    assert form.one("input", type="hidden")["value"] == "stop"
    later = own.get(link + "?when=epoch").one("form", class_="form")
    assert [one["value"] for one in later.all("option") if "selected" in one.attributes] == [
        "epoch"
    ]
    own.lines["main"].end("finished")
    own.get(link, 409)
