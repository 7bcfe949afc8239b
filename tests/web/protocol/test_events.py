"""What happened on a branch as events of the protocol."""

from __future__ import annotations

import time
from typing import Any

import pytest

from branchtrack.db import requests, runs
from tests.web.conftest import Site
from tests.web.protocol.client import ProtocolClient


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events if event["type"] != "metrics"]


def answer(own: Site, state: str, **facts: Any) -> None:
    """Bring the newest request as far as ``state``, as its process would."""
    main = own.lines["main"]
    with own.database.transaction() as connection:
        newest = requests.list_of_run(connection, main.grower.run.id, 1)[0]
        for name in state.split():
            requests.move(connection, newest.id, name, actor="trainer", **facts)


def test_a_run_begins_with_its_knobs_and_its_status(own: Site) -> None:
    events = ProtocolClient(own).events()
    assert types(events)[:3] == ["knobs_registered", "status_changed", "checkpoint_saved"]
    (status,) = (event for event in events if event["type"] == "status_changed")
    assert status["payload"] == {"status": "running"}
    assert all(event["v"] == 2 and event["branch_id"] == "main" for event in events)


def test_every_logged_step_is_an_event(own: Site) -> None:
    own.lines["main"].log("accuracy", [0, 20], [0.5, 0.75])
    metrics = [event for event in ProtocolClient(own).events() if event["type"] == "metrics"]
    assert [event["payload"]["step"] for event in metrics] == list(range(41))
    assert metrics[0]["payload"] == {"accuracy": 0.5, "step": 0}
    assert metrics[20]["payload"]["accuracy"] == 0.75 and "loss" in metrics[20]["payload"]
    assert "accuracy" not in metrics[21]["payload"]


def test_a_reader_gets_everything_once(own: Site) -> None:
    client, line = ProtocolClient(own), own.lines["main"]
    first = client.news()
    assert client.news() == []
    line.log("loss", [41, 42], [0.3, 0.2])
    line.commit("checkpoint", 42, message="later")
    second = client.news()
    assert [event["payload"].get("step") for event in second] == [41, 42, 42]
    assert client.news() == []
    numbers = [event["seq"] for event in first + second]
    assert numbers == sorted(set(numbers))
    assert len(client.events()) == len(first + second)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 30])
def test_a_reader_may_stop_anywhere(own: Site, cut: int) -> None:
    client = ProtocolClient(own)
    events = client.events()
    rest = client.events(events[cut - 1]["seq"] + 1)
    strip = [(event["type"], event["ts"], event["payload"]) for event in events[cut:]]
    assert [(event["type"], event["ts"], event["payload"]) for event in rest] == strip


def test_an_action_has_a_result_only_once_it_was_seen(own: Site) -> None:
    client = ProtocolClient(own)
    client.news()
    sent = client.submit("set_knob", name="lr", value=0.002)
    assert client.news() == []
    answer(own, "applied", applied={"lr": 0.002}, step=41)
    assert client.news() == []
    answer(own, "verified")
    changed, result = client.news()
    assert changed["type"] == "knob_changed"
    assert changed["payload"] == {"name": "lr", "value": 0.002}
    assert result["type"] == "action_result" and result["payload"]["id"] == sent["id"]
    assert result["payload"]["ok"] is True and result["payload"]["data"]["value"] == 0.002


def test_a_change_without_effect_is_no_success(own: Site) -> None:
    client = ProtocolClient(own)
    client.news()
    client.submit("set_knob", name="lr", value=0.002)
    answer(own, "applied ineffective", step=41)
    (result,) = client.news()
    assert result["payload"]["ok"] is False and "did not use it" in result["payload"]["error"]


def test_other_actions_have_their_own_events(own: Site) -> None:
    client = ProtocolClient(own)
    client.news()
    client.submit("note", text="why not")
    assert [event["payload"].get("text") for event in client.news()] == ["why not", None]
    own.lines["main"].offer()
    client.submit("evaluate", split="test")
    assert types(client.news()) == ["evaluate_requested"]
    answer(own, "applied done", result={"metrics": {"eval_loss": 0.5}})
    (result,) = client.news()
    assert result["payload"]["data"]["metrics"] == {"eval_loss": 0.5}
    client.submit("reset_module", module_name="head")
    answer(own, "applied done")
    assert types(client.news()) == ["module_reset", "action_result"]


def test_readers_go_along_when_a_process_goes_back(own: Site) -> None:
    client, main = ProtocolClient(own), own.lines["main"]
    client.news()
    assert main.head is not None
    client.submit("load_checkpoint", checkpoint_id=main.head.id, fork=True)
    back = main.grower.fork(main.head, "back", lr=0.001)
    back.log("loss", [41, 42], [0.3, 0.2])
    answer(own, "applied done", result={"branch": "back"})
    events = client.news()
    assert types(events)[-2:] == ["checkpoint_loaded", "action_result"]
    steps = [event["payload"]["step"] for event in events if event["type"] == "metrics"]
    assert steps == [41, 42] and events[-1]["seq"] + 1 == client.since
    assert client.state()["branch_id"] == "back"
    client.submit("note", text="here")
    with own.database.read() as connection:
        branch = runs.find_branch(connection, "digits/back")
        newest = requests.list_of_run(connection, branch.run_id, 1)[0]
    assert newest.branch_id == branch.id


def test_the_newest_step_waits_until_it_is_complete(own: Site) -> None:
    client, line = ProtocolClient(own), own.lines["main"]
    client.news()
    line.grower.began = time.time()
    line.log("loss", [41], [0.3])
    assert client.news() == []
    line.log("loss", [42], [0.2])
    line.log("eval_loss", [41], [0.4])
    (event,) = client.news()
    assert event["payload"] == {"loss": 0.3, "eval_loss": 0.4, "step": 41, "eval": True}
