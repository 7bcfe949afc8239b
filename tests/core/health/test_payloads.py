"""Alerts as JSON, also those that came from another home."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchtrack.core.agents.records import Alert
from branchtrack.core.health import payloads

OFFER = {"node": "3f2a91c0" * 2, "step": 800, "settings": {"lr": "x0.5"}, "name": "main-2"}
ALERT = Alert(
    seq=1,
    id="a" * 16,
    run_id="r" * 16,
    branch_id="b" * 16,
    segment_id=None,
    node_id=OFFER["node"],
    kind="nan",
    level="error",
    text="loss is NaN since step 812",
    step=812,
    metric="loss",
    value=None,
    offer=OFFER,
    key="k",
    created_at=1e9,
)


def test_an_alert_has_names_times_and_the_command_of_its_offer() -> None:
    payload = payloads.alert(ALERT, "demo", "main")
    assert payload["run"] == "demo" and payload["created_at"] == "2001-09-09T01:46:40.000Z"
    assert payload["seen_at"] is None and payload["node"] == OFFER["node"]
    command = f"branchtrack resume {OFFER['node']} --set lr=x0.5 --name main-2"
    assert payload["proposal"] == {**OFFER, "command": command}


@pytest.mark.parametrize("offer", [None, {}, {"node": 3}, {"settings": {"lr": 1}}])
def test_what_is_no_offer_is_none(offer: Any) -> None:
    assert payloads.alert(replace(ALERT, offer=offer), "demo", "main")["proposal"] is None


def test_an_odd_offer_is_quoted_for_the_shell() -> None:
    odd = payloads.proposal({"node": "a; rm -r /", "settings": ["x"], "name": 3})
    assert odd is not None and odd["command"] == "branchtrack resume 'a; rm -r /'"
