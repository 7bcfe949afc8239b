"""What a line of the log carries, as it is shown."""

from __future__ import annotations

import pytest

from branchtrack.analysis import payloads_audit
from branchtrack.core.records import Event


@pytest.fixture
def restore() -> Event:
    loss = {"name": "loss", "expected": [(1.5).hex()], "found": [(2.5).hex()]}
    payload = {"batch": "equal", "loss": "differs", "differences": [loss], "nothing": {}}
    return Event(
        id=1,
        run_id="r",
        seq=1,
        kind="restore",
        ref="n",
        state="differs",
        actor="run",
        reason="",
        step=3,
        payload=payload,
        time=0.0,
        hash="",
    )


def test_what_a_restore_differs_in_is_shown_in_numbers(restore: Event) -> None:
    assert payloads_audit.facts(restore) == {
        "batch": "equal",
        "loss": "differs",
        "differences": "loss 2.5, expected 1.5",
    }


def test_json_has_the_payload_as_it_was_recorded(restore: Event) -> None:
    assert payloads_audit.event(restore)["payload"] == restore.payload


def test_a_command_that_was_recorded_with_its_secrets_is_shown_without() -> None:
    payload = {"argv": [["python", "--token", "h1dd3n"], None], "cwd": ["/a", "/b"]}
    event = Event(1, "r", 1, 0.0, "me", "run", "r", "moved", None, payload, "", "")
    assert "h1dd3n" not in str(payloads_audit.event(event)) + str(payloads_audit.facts(event))
