"""The API that asks: requests, previews, cancelling, events, launches."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
from werkzeug.test import TestResponse

from branchtrack import control
from branchtrack.db import requests
from tests.web.conftest import Site

BRANCH = "/api/v1/runs/digits/branches/main"


def post(site: Site, path: str, status: int, body: Any) -> TestResponse:
    """What a POST of JSON is answered with."""
    answer = site.client.post(path, json=body)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer


def kept(site: Site) -> list[str]:
    with site.database.read() as connection:
        run_id = site.lines["main"].grower.run.id
        return [one.state for one in requests.list_of_run(connection, run_id)]


def test_a_request_is_accepted_and_can_be_looked_up(own: Site) -> None:
    body = {
        "kind": "set",
        "values": {"lr": 1e-3},
        "reason": "spikes",
        "not_after_step": 90,
        "only_if": {"lr": 5e-3},
        "expires_in": 60,
        "key": "k",
    }
    first = post(own, f"{BRANCH}/requests", 202, body)
    found = own.client.get(first.headers["Location"]).json
    assert found == first.json and found["state"] == "accepted"
    assert found["conditions"]["only_if"] == {"lr": 5e-3} and found["channel"] == "api"
    assert found["actor"].endswith(" (api)")
    again = post(own, f"{BRANCH}/requests", 200, body)
    assert again.json == first.json and kept(own) == ["accepted"]
    page = own.client.get("/api/v1/runs/digits/requests").json
    assert page == {"requests": [found], "total": 1, "next": None}


def test_an_answer_can_be_waited_for(own: Site) -> None:
    main = own.lines["main"]

    def answer() -> None:
        while not control.poll(own.database, main.segment.id):
            pass
        with own.database.transaction() as connection:
            (asked,) = requests.waiting(connection, main.segment.id)
            requests.move(connection, asked.id, "applied", actor="run", step=41)
            requests.move(connection, asked.id, "done", actor="run")

    thread = Thread(target=answer)
    thread.start()
    found = post(own, f"{BRANCH}/requests?wait=20", 202, {"kind": "checkpoint"}).json
    thread.join()
    assert found is not None and found["state"] == "done"
    late = post(own, f"{BRANCH}/requests?wait=0.01", 202, {"kind": "evaluate"}).json
    assert late is not None and late["state"] == "accepted"


def test_settings_and_a_preview_tell_what_there_is(own: Site) -> None:
    found = own.client.get(f"{BRANCH}/settings").json
    assert found is not None
    assert [one["name"] for one in found["settings"]] == ["lr", "weight_decay", "max_grad_norm"]
    seen = post(own, f"{BRANCH}/preview", 200, {"kind": "set", "values": {"lr": 1e-3}}).json
    assert seen is not None and seen["valid"]
    assert seen["changes"][0]["before"] == 5e-3 and seen["changes"][0]["after"] == 1e-3
    bad = post(own, f"{BRANCH}/preview", 200, {"kind": "set", "values": {"lr": -1}}).json
    assert bad is not None and not bad["valid"] and bad["error"]["field"] == "lr"
    assert kept(own) == []


@pytest.mark.parametrize(
    ("content", "kind", "status", "field"),
    [
        ("{", "application/json", 400, "body"),
        ("[" * 100_000, "application/json", 400, "body"),
        ("[]", "application/json", 422, "body"),
        ("kind=pause", "application/x-www-form-urlencoded", 415, "Content-Type"),
        ('{"kind": "set", "values": {"lr": NaN}}', "application/json", 422, "lr"),
        ('{"kind": "set", "values": {"lr": 1e999}}', "application/json", 422, "lr"),
        ('{"kind": "pause", "expires_in": Infinity}', "application/json", 422, "expires_in"),
        ('{"kind": "pause", "key": 5}', "application/json", 422, "key"),
        ('{"kind": "pause", "reason": {}}', "application/json", 422, "reason"),
        ('{"kind": "pause", "actor": "root"}', "application/json", 422, "pause.actor"),
        ('{"kind": {"a": 1}}', "application/json", 422, "kind"),
        ("{}", "application/json", 422, "kind"),
    ],
)
def test_what_is_not_understood_is_refused_by_the_fields_name(
    own: Site, content: str, kind: str, status: int, field: str
) -> None:
    answer = own.client.post(f"{BRANCH}/requests", data=content, content_type=kind)
    assert answer.status_code == status
    assert answer.json is not None and answer.json["error"]["field"] in (field, field[6:])
    assert set(kept(own)) <= {"rejected"}


@pytest.mark.parametrize(
    "body", ['{"kind": "set", "kind": "stop"}', '{"kind": "set", "payload": {"lr": 1, "lr": 2}}']
)
def test_what_is_said_twice_is_refused(own: Site, body: str) -> None:
    answer = own.client.post(
        "/api/v1/runs/digits/branches/main/requests",
        data=body,
        content_type="application/json",
    )
    assert answer.status_code == 422 and "twice" in answer.get_json()["error"]["what"]


def test_a_wait_that_is_none_is_refused_before_anything_is_asked(own: Site) -> None:
    for given in ("31", "nan", "-1", "x"):
        post(own, f"{BRANCH}/requests?wait={given}", 422, {"kind": "pause"})
    assert kept(own) == []


def test_cancelling_is_for_the_process_to_confirm(own: Site) -> None:
    asked = post(own, f"{BRANCH}/requests", 202, {"kind": "pause"}).json
    assert asked is not None
    told = post(own, f"/api/v1/requests/{asked['id']}/cancel", 202, None).json
    assert told is not None and told["state"] == "accepted"
    own.lines["main"].end("failed")
    assert own.client.get(f"/api/v1/requests/{asked['id']}").json["state"] == "expired"
    post(own, f"/api/v1/requests/{asked['id']}/cancel", 422, None)


def test_events_are_read_on_from_a_cursor_without_a_gap(own: Site) -> None:
    post(own, f"{BRANCH}/requests", 202, {"kind": "pause"})
    seen: list[int] = []
    after = 0
    while True:
        page = own.client.get(f"/api/v1/runs/digits/audit?after={after}&limit=2").json
        assert page is not None
        if not page["events"]:
            break
        seen += [one["seq"] for one in page["events"]]
        after = page["next"]
    assert seen == list(range(1, len(seen) + 1)) and len(seen) > 4
    assert own.client.get("/api/v1/runs/digits/audit?limit=5000").status_code == 422
