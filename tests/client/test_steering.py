"""Requests of a client."""

from __future__ import annotations

import math

import pytest

from branchtrack.client.client import Client
from branchtrack.errors import InvalidInput, NotAnswered
from tests.client.conftest import BRANCH
from tests.web.conftest import Site


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


def test_infinite_values_are_the_servers_to_judge(own: Site, client: Client) -> None:
    with pytest.raises(InvalidInput) as refused:
        client.set(BRANCH, {"lr": math.inf})
    assert refused.value.field == "lr"
    assert not client.preview(BRANCH, "set", values={"lr": -math.inf}).valid
    preview = client.preview(BRANCH, "set", values={"max_grad_norm": math.inf})
    assert preview.valid and preview.changes[0].after == "Infinity"
    assert client.preview_resume(own.node("main"), {"max_grad_norm": math.inf}).branches
