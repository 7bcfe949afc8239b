"""The client against the application: every method answers with its model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

import branchtrack
from branchtrack.client import client as client_module
from branchtrack.client.client import Client
from branchtrack.client.connection import in_process
from branchtrack.db import tokens
from branchtrack.errors import Forbidden, InvalidInput, NotAnswered, NotFound, NotLive, Unreachable
from branchtrack.web.app import create_app
from tests.web.conftest import Site
from tests.web.pages.test_alerts import raised

URL = "http://127.0.0.1:8642"
BRANCH = "digits/main"


def connect(site: Site, token: str | None = None, app: Any = None) -> Client:
    return Client(URL, token, transport=in_process(app or site.app))


@pytest.fixture
def client(own: Site) -> Iterator[Client]:
    with connect(own) as connected:
        yield connected


def test_it_is_a_public_name() -> None:
    assert branchtrack.Client is Client


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
    assert client.compare(BRANCH, BRANCH, points=10).curves["a"].branch == "main"


def test_a_curve_is_followed_from_where_it_was(own: Site, client: Client) -> None:
    whole = client.curve("digits")
    assert len(whole.steps) == 40 and client.curve("digits", since=whole.next).steps == []
    own.lines["main"].log("loss", [41, 42], [0.1, 0.2])
    new = client.curve("digits", since=whole.next)
    assert (new.steps, new.values, new.reset) == ([41, 42], [0.1, 0.2], False)
    (metric,) = client.metrics("digits")
    assert (metric.name, metric.step, metric.value) == ("loss", 42, 0.2)


def test_a_request_is_previewed_made_once_and_taken_back(client: Client) -> None:
    preview = client.preview("digits", "set", values={"lr": 1e-3})
    assert preview.valid and preview.changes[0].after == 1e-3
    asked = client.set(BRANCH, {"lr": 1e-3}, reason="spikes", key="k")
    assert client.set(BRANCH, {"lr": 1e-3}, reason="spikes", key="k").id == asked.id
    assert [one.id for one in client.requests("digits")] == [asked.id]
    assert not client.show_request(asked.id).has_ended
    with pytest.raises(NotAnswered):
        client.wait(asked.id, 0.01)
    assert client.cancel(asked.id).state == "accepted"
    assert client.request("digits", "note", text="hm", wait=5).state == "done"


def test_orders_are_previewed_made_and_cancelled(own: Site, client: Client) -> None:
    node = own.node("main")
    preview = client.preview_resume(node, {"lr": [1e-3, 2e-3]})
    assert len(preview.branches) == 2
    (launch,) = client.resume(node, {"lr": 1e-3}, name="low", reason="try")
    assert [line.launch for line in client.launches().launches] == [launch.launch]
    assert client.launch(launch.launch).position == 1 and client.log(launch.launch) == ""
    assert client.cancel_launch(launch.launch).state == "cancelled"
    with pytest.raises(InvalidInput):
        client.continue_branch(BRANCH)


def test_a_run_is_managed(own: Site, client: Client) -> None:
    node = own.node("main")
    assert client.label(BRANCH, ["good"], notes="n").tags == ["good"]
    assert client.label("digits", archived=True).archived
    assert client.tag(node, ["best"]).tags == ["best"]
    assert client.pin(node).changed and not client.unpin(node).pinned
    assert client.verify(node).whole
    assert client.gc("digits", keep="thin", dry_run=True).dry_run
    own.lines["main"].end("finished")
    assert client.delete("digits", reason="old").nodes == 2
    (entry,) = client.trash()
    assert client.restore(entry.id).name == "digits"
    client.delete("digits")
    assert client.purge(entry.id).id == entry.id


def test_alerts_are_read_from_a_cursor_and_marked(own: Site, client: Client) -> None:
    alert = raised(own, key="1", text="first", level="error")
    page = client.alerts("digits")
    assert [each.text for each in page.alerts] == ["first"]
    assert client.alerts(since=page.cursor).alerts == []
    assert client.see_alert(alert.id).seen_by


def test_tokens_are_made_listed_and_revoked(client: Client) -> None:
    assert client.create_token("bot", "agent", only=["lr"]).secret.startswith(tokens.PREFIX)
    assert [token.name for token in client.tokens()] == ["bot"]
    assert client.revoke_token("bot").revoked_at is not None


def test_lists_are_read_page_after_page(own: Site, client: Client) -> None:
    for number in range(3):
        client.create_token(f"bot-{number}", "viewer")
    pages = client._pages("/tokens", client_module.TokenPage, "after", limit=2)
    assert [token.name for token in pages] == ["bot-0", "bot-1", "bot-2"]


def test_errors_are_those_of_the_server(own: Site, client: Client) -> None:
    with pytest.raises(NotFound) as missing:
        client.run("digts")
    assert missing.value.kind == "run" and missing.value.near == ["digits"]
    with pytest.raises(InvalidInput) as invalid:
        client.set(BRANCH, {"lr": -1})
    assert invalid.value.field == "lr" and invalid.value.safe == "Nothing was changed."
    own.lines["main"].end("failed")
    with pytest.raises(NotLive):
        client.set(BRANCH, {"lr": 1e-3})
    guarded = create_app(own.config, own.database, own.store, token="secret")
    with connect(own, "wrong", guarded) as stranger, pytest.raises(Forbidden):
        stranger.whoami()
    with connect(own, "secret", guarded) as known:
        assert known.whoami().role == "admin"


def test_names_are_quoted(client: Client) -> None:
    for name in ("a?b#c", "ä", "💥", "%2e%2e", " "):
        with pytest.raises(NotFound) as missing:
            client.tree(name)
        assert missing.value.ref == name


REFERENCES: list[tuple[str, Callable[[Client, Any], Any]]] = [
    ("run", lambda client, name: client.run(name)),
    ("run", lambda client, name: client.tree(name)),
    ("run", lambda client, name: list(client.nodes(name))),
    ("run", lambda client, name: list(client.events(name))),
    ("node", lambda client, name: client.node(name)),
    ("node", lambda client, name: client.resume(name)),
    ("request_id", lambda client, name: client.wait(name)),
    ("launch_id", lambda client, name: client.launch(name)),
    ("entry", lambda client, name: client.purge(name)),
    ("name", lambda client, name: client.revoke_token(name)),
]


@pytest.mark.parametrize(("field", "call"), REFERENCES)
def test_no_name_leads_to_another_route(
    client: Client, field: str, call: Callable[[Client, Any], Any]
) -> None:
    for name in ("demo/tree", ".", "..", "../runs", "", "x" * 70_000, "\ud800", None, 5):
        with pytest.raises(InvalidInput) as refused:
            call(client, name)
        assert refused.value.field == field, name


def test_only_what_may_be_a_branch_is_split(client: Client) -> None:
    for ref in ("digits/", "/main", "digits/main/x", "digits/..", "", None, 5, 10**5000):
        calls: list[Callable[[Any], object]] = [client.settings, client.label, client.delete]
        for call in calls:
            with pytest.raises(InvalidInput):
                call(ref)
    assert client.settings(BRANCH).settings and client.label(BRANCH, ["good"]).tags == ["good"]


def test_arguments_that_cannot_be_sent_are_refused_before_anything_is(client: Client) -> None:
    untyped: Any = client
    calls: dict[str, Callable[[], Any]] = {
        "lr": lambda: untyped.set(BRANCH, {"lr": object()}),
        "values": lambda: untyped.set(BRANCH, 5),
        "settings": lambda: untyped.preview_resume("digits", "lr=1"),
        "rules": lambda: untyped.change_watch("digits", None or 5),
        "add_tags": lambda: untyped.label(BRANCH, "good"),
        "remove": lambda: untyped.tag("abcd", remove=5),
        "after": lambda: list(untyped.events("digits", after="ü")),
        "wait": lambda: untyped.set(BRANCH, {"lr": 1e-3}, wait=math.nan),
        "timeout": lambda: untyped.wait("abcd", timeout=math.nan),
    }
    for field, call in calls.items():
        with pytest.raises(InvalidInput) as refused:
            call()
        assert refused.value.field == field
    assert list(client.requests("digits")) == []


def test_infinite_values_are_the_servers_to_judge(own: Site, client: Client) -> None:
    with pytest.raises(InvalidInput) as refused:
        client.set(BRANCH, {"lr": math.inf})
    assert refused.value.field == "lr"
    assert not client.preview(BRANCH, "set", values={"lr": -math.inf}).valid
    preview = client.preview(BRANCH, "set", values={"max_grad_norm": math.inf})
    assert preview.valid and preview.changes[0].after == "Infinity"
    assert client.preview_resume(own.node("main"), {"max_grad_norm": math.inf}).branches


@pytest.mark.parametrize(
    ("status", "content"),
    [(307, b""), (200, b""), (200, b"<html>"), (200, b"[1]"), (200, b"{}"), (204, b"")],
)
def test_an_answer_of_another_program_is_an_error_of_the_family(
    status: int, content: bytes
) -> None:
    answer = httpx2.Response(status, content=content, headers={"Location": "/login"})
    with Client(URL, transport=httpx2.MockTransport(lambda _: answer)) as client:
        calls: list[Callable[[], object]] = [
            client.whoami,
            lambda: list(client.runs()),
            lambda: client.set("a/b", {}),
        ]
        for call in calls:
            with pytest.raises(branchtrack.BranchtrackError, match="--url-prefix"):
                call()


def test_a_closed_client_says_so() -> None:
    with Client(URL) as client:
        pass
    with pytest.raises(branchtrack.BranchtrackError, match="closed"):
        client.whoami()


def test_address_and_token_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput):
        Client()
    monkeypatch.setenv("BRANCHTRACK_URL", URL)
    monkeypatch.setenv("BRANCHTRACK_TOKEN", "bt_secret")
    seen: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["Authorization"])
        return httpx2.Response(404, content=b"{}")

    with Client(transport=httpx2.MockTransport(handler)) as client:
        with pytest.raises(branchtrack.BranchtrackError):
            client.whoami()
        assert seen == ["Bearer bt_secret"] and "bt_secret" not in repr(vars(client))


def message(seq: int) -> str:
    event = {"seq": seq, "time": "", "actor": "", "kind": "note", "ref": "", "request": None}
    event |= {"state": "", "step": None, "payload": {}, "reason": "", "hash": ""}
    data = client_module.Event.model_validate(event).model_dump_json()
    return f"id: {seq}\nevent: event\ndata: {data}\n\n"


def test_a_stream_that_breaks_off_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module.time, "sleep", lambda _seconds: None)
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


def test_every_answer_is_a_model_or_what_one_holds() -> None:
    methods = [
        method
        for name, method in inspect.getmembers(Client, inspect.isfunction)
        if not name.startswith("_") and name not in ("close", "log")
    ]
    for method in methods:
        annotation = inspect.signature(method, eval_str=True).return_annotation
        held = [kind for kind in (annotation, *getattr(annotation, "__args__", ()))]
        assert any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in held), method
