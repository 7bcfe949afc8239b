"""What an action does wrong is its answer, and never the end of training."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from branchtrack.core.records import Request
from branchtrack.training.steer import execution


def carried_out(action: Any) -> Any:
    request = Request(
        seq=1,
        id="a" * 16,
        run_id="b" * 16,
        branch_id="c" * 16,
        segment_id="d" * 16,
        kind="act",
        payload={},
        requested={"action": "leave"},
        actor="me",
        reason="",
        state="accepted",
        error=None,
        before=None,
        applied=None,
        effective=None,
        result=None,
        step=None,
        node_id=None,
        created_at=0.0,
        updated_at=0.0,
    )
    live: Any = None
    return execution.carry_out(request, live, 3, {"leave": action})


def test_an_action_that_exits_has_failed() -> None:
    answer = carried_out(lambda: sys.exit("enough"))
    assert (answer.state, answer.error) == ("failed", "SystemExit: enough")


def test_an_interruption_stays_one() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carried_out(interrupted)
