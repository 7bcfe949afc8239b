"""What there is, read by a client."""

from __future__ import annotations

import httpx2
import pytest

from branchtrack.client import reading
from branchtrack.client.client import Client
from branchtrack.errors import Unreachable
from tests.client.conftest import BRANCH, URL
from tests.web.conftest import Site


def test_what_there_is_is_read(own: Site, client: Client) -> None:
    node = own.node("main")
    assert [run.name for run in client.runs()] == ["digits"]
    assert client.run("digits").nodes == 2 and client.whoami().role == "admin"
    assert [branch.name for branch in client.branches("digits")] == ["main"]
    assert len(client.tree("digits").nodes) == 2
    assert [line.kind for line in client.nodes("digits")] == ["root", "checkpoint"]
    assert [line.step for line in client.nodes("digits", kind="root")] == [0]
    assert client.node(node).id == node and client.code(node) is None
    assert client.settings("digits").settings[0].name == "lr"
    assert client.storage().stored_bytes > 0
    assert client.chain("digits").holds
    assert [event.seq for event in client.audit("digits")][0] == 1
    assert client.diff(node, BRANCH).common_ancestor == node
    assert client.weights(node, BRANCH).total is not None
    assert client.compare(BRANCH, BRANCH, points=10).curves["a"].branch == "main"


def test_a_curve_is_followed_from_where_it_was(own: Site, client: Client) -> None:
    whole = client.curve("digits")
    assert len(whole.steps) == 40 and client.curve("digits", since=whole.next).steps == []
    own.lines["main"].log("loss", [41, 42], [0.1, 0.2])
    new = client.curve("digits", since=whole.next)
    assert (new.steps, new.values, new.reset) == ([41, 42], [0.1, 0.2], False)
    (metric,) = client.metrics("digits")
    assert (metric.name, metric.step, metric.value) == ("loss", 42, 0.2)


def message(seq: int) -> str:
    event = {"seq": seq, "time": "", "actor": "", "kind": "note", "ref": "", "request": None}
    event |= {"state": "", "step": None, "payload": {}, "reason": "", "hash": ""}
    data = reading.Event.model_validate(event).model_dump_json()
    return f"id: {seq}\nevent: event\ndata: {data}\n\n"


def test_a_stream_that_breaks_off_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading.time, "sleep", lambda _seconds: None)
    parts = [": open\n\n" + message(4) + message(5), message(6)]
    asked: list[str | None] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        if not parts:
            raise httpx2.ConnectError("gone")
        headers = {"Content-Type": "text/event-stream"}
        return httpx2.Response(200, content=parts.pop(0).encode(), headers=headers)

    seen = []
    with Client(URL, transport=httpx2.MockTransport(handler)) as client:
        with pytest.raises(Unreachable):
            for event in client.events("digits", after=3):
                seen.append(event.seq)
    assert seen == [4, 5, 6] and asked[:3] == ["3", "5", "6"]
