"""The routes of the protocol: a branch's own, and those at the root of a server."""

from __future__ import annotations

from branchtrack import control
from branchtrack.db import requests
from branchtrack.web.app import create_app
from tests.web.conftest import Site, client_of
from tests.web.protocol.client import ProtocolClient


def test_a_refused_action_has_an_id_and_a_result(own: Site) -> None:
    client = ProtocolClient(own)
    client.news()
    for action, payload in (
        ("set_knob", {"name": "lr", "value": -1}),
        ("set_knob", {"name": "nothing", "value": 1}),
        ("load_checkpoint", {"checkpoint_id": "ffffffff"}),
        ("set_agent", {"enabled": True}),
        ("conjure", {}),
    ):
        answer = client.submit(action, **payload)
        assert answer["ok"] is False and answer["error"]
        (result,) = client.news()
        assert result["type"] == "action_result" and result["payload"]["ok"] is False
        assert result["payload"]["id"] == answer["id"] and result["payload"]["error"]


def test_a_key_that_is_sent_to_configure_an_agent_is_not_stored(own: Site) -> None:
    ProtocolClient(own).submit("configure_agent", api_key="sk-secret", model="x")
    run_id = own.lines["main"].grower.run.id
    with own.database.read() as connection:
        assert "sk-secret" not in str(requests.list_of_run(connection, run_id))
    assert "sk-secret" not in str(ProtocolClient(own).events())


def test_an_id_of_the_client_is_the_id_of_its_action(own: Site) -> None:
    body = {"v": 2, "type": "note", "payload": {"text": "x"}, "id": "mine", "source": "bot"}
    for _time in range(2):
        answer = own.client.post("/it/digits/main/actions", json=body)
        assert answer.get_json() == {"id": "mine"}
    results = [event for event in ProtocolClient(own).events() if event["type"] == "action_result"]
    assert [event["payload"]["id"] for event in results] == ["mine"]


def test_who_made_an_action_is_what_the_server_knows(own: Site) -> None:
    own.client.post("/it/digits/main/actions", json={"type": "pause", "source": "the president"})
    with own.database.read() as connection:
        (request,) = requests.list_of_run(connection, own.lines["main"].grower.run.id)
    assert request.actor == f"{control.local_actor()} (api)" and request.channel == "api"
    assert "source: the president" in request.reason


def test_what_is_no_action_is_refused(own: Site) -> None:
    for body in ({}, {"type": 1}, {"type": "pause", "payload": []}, {"type": "pause", "x": 1}):
        answer = own.client.post("/it/digits/main/actions", json=body)
        assert answer.status_code == 422 or body.get("payload") == []
    assert own.client.get("/it/digits/nowhere/state").get_json()["error"]["type"] == "NotFound"
    assert own.client.get("/it/digits/main/events?since=x").status_code == 422


def test_a_server_can_speak_for_one_branch_at_its_root(own: Site) -> None:
    assert own.client.get("/state").status_code == 404
    app = create_app(own.config, own.database, own.store, token="secret", protocol="digits")
    bearer = {"Authorization": "Bearer secret"}
    assert client_of(app).get("/state").status_code == 401
    state = client_of(app).get("/state", headers=bearer).get_json()
    assert state["branch_id"] == "main"
    assert client_of(app).get("/events?since=0", headers=bearer).get_json()["events"]
    sent = client_of(app).post(
        "/actions", json={"type": "note", "payload": {"text": "x"}}, headers=bearer
    )
    assert sent.status_code == 200
    missing = client_of(app).post("/actions", json={}, headers=bearer)
    assert missing.get_json()["error"]["field"] == "type"
