from __future__ import annotations

import os
from typing import Any, cast

import pytest

from branchtrack.training.session.ranks import leading
from branchtrack.training.steer.answers import Answer
from branchtrack.training.steer.effects import Verdict
from tests.training.requests_for_tests import request


def seen(**changed: Any) -> dict[str, Any]:
    """What one rank has seen of an update."""
    values = {
        "step": 3,
        "batch": "b0",
        "losses": ["0x1p0", "0x1p1"],
        "before_step": 1,
        "numbers": {},
        "weights": "w0",
    }
    return {**values, **changed}


def test_what_ranks_have_seen_is_one_content_in_which_each_counts() -> None:
    both = leading._together([seen(), seen(batch="b1", losses=["0x1p2"])])
    assert both is not None
    assert both["losses"] == ["0x1p0", "0x1p2", "0x1p1"]
    assert both["before_step"] == 2
    for changed in ({"batch": "b2"}, {"weights": "w2"}, {"losses": ["0x1p3"]}):
        other = {"batch": "b1", "losses": ["0x1p2"], **changed}
        assert leading._together([seen(), seen(**other)]) != both


@pytest.mark.parametrize("part", ["batch", "weights"])
def test_what_one_rank_does_not_know_is_unknown_of_all(part: str) -> None:
    both = leading._together([seen(), seen(**{part: None})])
    assert both is not None and both[part] is None


def test_nothing_is_known_of_an_update_that_a_rank_has_not_told() -> None:
    assert leading._together([seen(), None]) is None


def verdict(state: str = "verified") -> Verdict:
    """Rank 0's verdict on a request."""
    return Verdict(Answer(request("set")), state, {"step": 4, "lr": 0.1, "verified": True}, None)


def test_a_change_that_every_rank_saw_is_verified() -> None:
    said = {"verdicts": {"r1": ["verified", {"lr": 0.1}, None]}, "obeyed": True}
    assert leading._agreed(verdict(), 1, said) == verdict()


def test_a_rank_that_used_another_value_makes_a_change_ineffective_and_is_named() -> None:
    why = "lr was to be 0.1, and update 4 used 0.5."
    said = {"verdicts": {"r1": ["ineffective", {"lr": 0.5}, why]}, "obeyed": False}
    judged = leading._agreed(verdict(), 1, said)
    assert (judged.state, judged.error) == ("ineffective", f"Rank 1: {why}")
    assert judged.effective == {
        "step": 4,
        "lr": 0.1,
        "verified": False,
        "rank": 1,
        "on_rank": {"lr": 0.5},
    }


@pytest.mark.parametrize("said", [None, {"verdicts": {}, "obeyed": True}])
def test_nothing_is_verified_of_a_rank_that_has_said_nothing(said: Any) -> None:
    judged = leading._agreed(verdict(), 1, said)
    assert judged.state == "ineffective"
    assert judged.error == "Rank 1: it has not said what it used."


def test_what_rank_0_itself_found_ineffective_stays_so() -> None:
    own = verdict("ineffective")
    assert leading._agreed(own, 1, None) is own


class Said:
    """Stands for rank 0's side of meetings."""

    channel = None

    def __init__(self) -> None:
        self.groups: list[dict[str, str]] = []

    def go(self, step: int, *, restart: dict[str, Any], **how: Any) -> None:
        """Keep the group that all restart in."""
        self.groups.append(restart["group"])


class Rewinding:
    """Stands for a session that restarts."""

    def order_of_restart(self) -> dict[str, Any]:
        """Return what others need for it."""
        return {"launch": "l", "request": "r"}


def test_all_meetings_before_a_restart_lead_to_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE"):
        monkeypatch.setenv(name, "")
    said, session = cast(Any, Said()), cast(Any, Rewinding())
    led = leading.Leading(said, session)
    for step in (4, 5):
        led.go(step, ends=True, evaluates=False, commits=False, held=False, alike=False)
    assert said.groups[0] == said.groups[1]
    assert said.groups[1]["MASTER_PORT"] == os.environ["MASTER_PORT"]
