from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from branchtrack.errors import RankLost
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.session.ranks import lead as leads
from branchtrack.training.session.ranks.lead import Lead
from branchtrack.training.settings.live import Live
from branchtrack.training.steer.answers import Answer
from tests.training.requests_for_tests import request


class Meeting:
    """Rank 0 with live objects, and rank 1 that says what a test has it say."""

    def __init__(self) -> None:
        store = dist.HashStore()
        self.lead, self.other = Lead(Channel(store, 0, 2)), Channel(store, 1, 2)
        model = torch.nn.Linear(2, 2)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.live = Live(model, self.optimizer, None, SimpleNamespace(), [True])

    def execute(self, kind: str, run: Callable[[Any], Answer], reply: dict[str, Any]) -> Answer:
        """Have both carry out a request; rank 1 replies as given."""
        replying = threading.Thread(target=self._reply, args=(reply,))
        replying.start()
        answer = self.lead.execute(request(kind), self.live, 3, run)
        replying.join(60)
        return answer

    def _reply(self, reply: dict[str, Any]) -> None:
        self.said = self.other.wait("say/1", 0)
        self.other.post("reply/1/1", reply)

    def set_rate(self, asked: Any) -> Answer:
        """Set the rate to 0.5."""
        self.optimizer.param_groups[0]["lr"] = 0.5
        return Answer(asked, applied={"lr": 0.5}, settings={"lr": 0.5})


def test_what_all_ranks_do_is_done() -> None:
    meeting = Meeting()
    reply = {"state": "applied", "error": None, "applied": {"lr": 0.5}}
    answer = meeting.execute("set", meeting.set_rate, reply)
    assert (answer.state, answer.applied) == ("applied", {"lr": 0.5})
    assert meeting.said["do"]["kind"] == "set"


@pytest.mark.parametrize(
    "reply",
    [
        {"state": "failed", "error": "too much", "applied": None},
        {"state": "applied", "error": None, "applied": {"lr": 0.4}},
    ],
)
def test_a_setting_that_a_rank_does_not_take_alike_is_put_back_on_all(
    reply: dict[str, Any],
) -> None:
    meeting = Meeting()
    answer = meeting.execute("set", meeting.set_rate, reply)
    assert (answer.state, answer.applied, answer.settings) == ("failed", None, {})
    assert answer.error is not None and answer.error.startswith("Rank 1: ")
    assert meeting.optimizer.param_groups[0]["lr"] == 0.1
    meeting.lead.go(3)
    assert meeting.other.wait("say/2", 0)["undo"] is True
    meeting.lead.go(3)
    assert meeting.other.wait("say/3", 0)["undo"] is False


def test_an_action_that_failed_on_one_rank_failed() -> None:
    meeting = Meeting()
    reply = {"state": "failed", "error": "ValueError: no", "applied": None}
    answer = meeting.execute("act", lambda asked: Answer(asked, "done"), reply)
    assert (answer.state, answer.error) == ("failed", "Rank 1: ValueError: no")


def test_what_rank_0_itself_refuses_keeps_its_own_reason() -> None:
    meeting = Meeting()
    reply = {"state": "failed", "error": "theirs", "applied": None}
    answer = meeting.execute("act", lambda asked: Answer(asked, "failed", "own"), reply)
    assert answer.error == "own"


def test_a_rank_that_is_lost_at_a_meeting_fails_the_request_and_holds_up_nothing() -> None:
    meeting = Meeting()
    meeting.other.leave("its script ended")
    answer = meeting.lead.execute(
        request("act"), meeting.live, 3, lambda asked: Answer(asked, "done")
    )
    assert answer.state == "failed"
    assert answer.error is not None and "its script ended" in answer.error
    assert "Rank 1" in meeting.lead.lost


def test_nothing_is_asked_of_ranks_that_were_told_to_end() -> None:
    meeting = Meeting()
    meeting.lead.go(3, stop=True)
    answer = meeting.lead.execute(request("set"), meeting.live, 3, meeting.set_rate)
    assert answer.state == "applied"
    meeting.lead.go(3)
    assert meeting.other.peek("say/2") is None


def test_rank_0_waits_for_all_to_begin_but_not_for_ever() -> None:
    meeting = Meeting()
    meeting.lead.wait_for_all(60)
    alone = Lead(Channel(dist.HashStore(), 0, 2))
    with pytest.raises(RankLost, match="Rank 1"):
        alone.wait_for_all(0.05)


def test_a_signal_of_another_rank_is_seen_once() -> None:
    meeting = Meeting()
    assert not meeting.lead.look()
    meeting.other.post("signal/1", "SIGTERM")
    assert meeting.lead.look()
    assert meeting.lead.signal == (1, "SIGTERM")
    assert not meeting.lead.look()


def test_what_ranks_say_is_gathered_without_those_that_say_nothing() -> None:
    meeting = Meeting()
    meeting.other.post("seen/3/1", {"batch": "a"})
    assert meeting.lead.gathered("seen/3", 60) == {1: {"batch": "a"}}
    assert meeting.lead.gathered("seen/4", 0.05) == {}


@pytest.mark.parametrize("why", ["", "failed"])
def test_rank_0_leaves_after_the_others_or_at_once_if_something_failed(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leads, "_END_SECONDS", 60)
    meeting = Meeting()
    if not why:
        threading.Timer(0.05, meeting.other.leave).start()
    meeting.lead.leave(why)
    assert meeting.other.peek("left/0")["why"] == why
    assert (meeting.other.peek("left/1") is None) == bool(why)
