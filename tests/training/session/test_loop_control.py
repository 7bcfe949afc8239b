"""Requests end a loop, hold it or measure it; what they do wrong is their answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.core.records import Request
from branchtrack.errors import InvalidInput
from branchtrack.training.record.committer import Point
from branchtrack.training.session.loop_control import LoopControl
from branchtrack.training.steer.answers import Answer
from tests.training.requests_for_tests import request


class Desk:
    """A control whose records are kept in lists; ``refusal`` is what a rewind runs into."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, Any]] = []
        self.held: list[tuple[bool, int, str]] = []
        self.refusal: Exception | None = None
        self.rewinder: Any = SimpleNamespace(pending=None, order=self.order)
        self.control = LoopControl(
            self.rewinder,
            lambda step, metrics: self.logged.append((step, metrics)),
            lambda *held: self.held.append(held),
        )

    def order(self, _request: Request) -> dict[str, Any]:
        if self.refusal is not None:
            raise self.refusal
        return {"branch": "again"}

    def ask(self, kind: str, number: int = 1, *, final: bool = False, **requested: Any) -> Answer:
        live: Any = SimpleNamespace()
        point = Point(live, 4, 0.0, dict, lambda: {"loss": 0.5})
        return self.control.execute(
            request(kind, number, requested=requested), point, {}, final=final
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_stop_is_done_only_when_training_has_ended(desk: Desk) -> None:
    assert desk.ask("stop").state == "applied" and desk.control.stop_asked


def test_an_evaluation_is_logged_and_answered(desk: Desk) -> None:
    answer = desk.ask("evaluate")
    assert (answer.state, answer.result) == ("done", {"metrics": {"loss": 0.5}})
    assert desk.logged == [(4, {"loss": 0.5})] and not desk.control.stop_asked


def test_a_pause_holds_the_loop_until_it_is_ended(desk: Desk) -> None:
    assert desk.ask("pause").state == "done" and desk.control.is_paused
    assert desk.ask("unpause").state == "done" and not desk.control.is_paused
    assert desk.held == [(True, 4, "ann"), (False, 4, "ann")]


def test_a_pause_that_is_not_the_only_one_leaves_the_loop_held(desk: Desk) -> None:
    desk.ask("pause", 1)
    desk.ask("pause", 2)
    answer = desk.ask("unpause", 3, pause="r1")
    assert answer.result == {"paused": "Another pause holds the training."}
    assert desk.control.is_held(4) and desk.held == [(True, 4, "ann")] * 2
    assert desk.ask("unpause", 4, pause="r2").result is None
    assert not desk.control.is_held(4) and desk.held[-1] == (False, 4, "ann")


def test_a_pause_that_ends_by_itself_is_recorded_once(desk: Desk) -> None:
    desk.ask("pause", seconds=1e-9)
    assert not desk.control.is_held(4) and not desk.control.is_held(5)
    assert desk.held == [(True, 4, "ann"), (False, 4, "ann")]


@pytest.mark.parametrize("ended_by", ["stop", "final"])
def test_a_training_that_ends_is_not_held(ended_by: str, desk: Desk) -> None:
    if ended_by == "stop":
        desk.ask("stop")
    answer = desk.ask("pause", final=ended_by == "final")
    assert answer.state == "failed" and "Training ends" in (answer.error or "")
    assert not desk.control.is_paused and desk.held == []


def test_a_rewind_ends_the_training_here(desk: Desk) -> None:
    answer = desk.ask("rewind")
    assert (answer.state, answer.result) == ("applied", {"branch": "again"})
    assert desk.control.stop_asked


def test_a_rewind_that_is_refused_lets_training_continue(desk: Desk) -> None:
    desk.refusal = InvalidInput("node", "x", "another")
    assert desk.ask("rewind").state == "failed" and not desk.control.stop_asked


def test_nothing_is_carried_out_once_the_branch_was_left(desk: Desk) -> None:
    desk.rewinder.pending = object()
    assert desk.ask("evaluate").state == "expired" and desk.logged == []
