"""The client against the application: every method answers with its model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

import branchtrack
from branchtrack.client.client import Client
from branchtrack.errors import Forbidden, InvalidInput, NotFound, NotLive
from branchtrack.web.app import create_app
from tests.client.conftest import BRANCH, URL, connect
from tests.web.conftest import Site


def test_it_is_a_public_name() -> None:
    assert branchtrack.Client is Client


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
