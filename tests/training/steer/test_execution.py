"""Every kind of request has one function; an error in a request is its answer."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from branchtrack.core.interventions import INTERVENTIONS, REPLAYED_KINDS
from branchtrack.core.records import Change, Request
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.apply import Live
from branchtrack.training.steer import execution
from branchtrack.training.steer.answers import Answer
from branchtrack.training.steer.execution import Scene


class Options:
    max_grad_norm = 1.0


class Training:
    """A training that notes what is done with it."""

    def __init__(self, **actions: Any) -> None:
        self.deeds: list[str] = []
        self.error: BaseException | None = None
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        self.live = Live(model, optimizer, None, Options(), [True])
        self.scene = Scene(
            self.live,
            3,
            actions,
            evaluate=self.evaluate,
            hold=self.hold,
            release=self.release,
            stop=self.stop,
            suspend=self.suspend,
            rewind=self.rewind,
        )

    def evaluate(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {"eval_loss": 1.0}

    def hold(self, request: Request) -> None:
        self.deeds.append("held")

    def release(self, request: Request) -> bool:
        self.deeds.append("released")
        return False

    def stop(self) -> None:
        self.deeds.append("stopped")

    def suspend(self) -> None:
        self.deeds.append("suspended")

    def rewind(self, request: Request) -> dict[str, Any]:
        return {"segment": "next"}

    def execute(self, kind: str, conditions: dict[str, Any] | None = None, **fields: Any) -> Answer:
        return execution.execute(request(kind, conditions or {}, **fields), self.scene)


def request(kind: str, conditions: dict[str, Any] | None = None, **fields: Any) -> Request:
    return Request(
        seq=1,
        id="a" * 16,
        run_id="b" * 16,
        branch_id="c" * 16,
        segment_id="d" * 16,
        kind=kind,
        payload={},
        requested=fields,
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
        conditions=conditions or {},
    )


def test_every_kind_that_needs_a_process_has_a_function() -> None:
    kinds = {kind for kind, model in INTERVENTIONS.items() if model.needs_process}
    assert set(execution.EXECUTORS) == kinds


def test_every_kind_that_a_certificate_replays_has_a_function() -> None:
    assert set(execution.REPLAYERS) == set(REPLAYED_KINDS)


@pytest.mark.parametrize(
    ("kind", "state", "result", "deeds"),
    [
        ("evaluate", "done", {"metrics": {"eval_loss": 1.0}}, []),
        ("checkpoint", "done", None, []),
        ("pause", "done", None, ["held"]),
        ("unpause", "done", None, ["released"]),
        ("stop", "applied", None, ["stopped"]),
        ("rewind", "applied", {"segment": "next"}, ["stopped"]),
    ],
)
def test_what_is_asked_of_the_training_is_done_with_it(
    kind: str, state: str, result: Any, deeds: list[str]
) -> None:
    training = Training()
    answer = training.execute(kind)
    assert (answer.state, answer.result, training.deeds) == (state, result, deeds)


def test_a_pause_that_frees_the_machine_is_done_when_training_has_ended() -> None:
    training = Training()
    answer = training.execute("pause", free=True)
    assert (answer.state, training.deeds) == ("applied", ["suspended"])


def test_a_change_is_applied_and_waits_for_its_update() -> None:
    training = Training()
    answer = training.execute("set", values={"lr": 0.5})
    assert (answer.state, answer.before, answer.applied) == ("applied", {"lr": 0.1}, {"lr": 0.5})


def test_modules_are_frozen_and_train_again() -> None:
    training = Training()
    assert training.execute("freeze", modules="1").applied == {"frozen": "1"}
    assert training.execute("unfreeze", modules="1.bias").applied == {"frozen": "1.weight"}


def test_a_change_is_replayed_whatever_its_conditions() -> None:
    training = Training()
    late = request("set", {"not_after_step": 0}, values={"lr": 0.5})
    execution.replay(late, training.live, {})
    assert training.live.groups[0]["lr"] == 0.5


def test_a_request_whose_time_or_condition_is_over_changes_nothing() -> None:
    training = Training()
    assert training.execute("pause", {"not_after_step": 2}).state == "expired"
    unmet = training.execute("pause", {"only_if": {"lr": 3.0}})
    assert (unmet.state, training.deeds) == ("failed", [])


def test_what_is_no_setting_is_an_entry_of_the_node() -> None:
    training = Training(relabel=lambda threshold: None)
    answers = [
        training.execute("act", action="relabel", arguments={"threshold": 0.5}),
        training.execute("reset", modules="1"),
        training.execute("act", action="nope"),
        training.execute("checkpoint"),
    ]
    assert [answer.state for answer in answers] == ["done", "done", "failed", "done"]
    assert execution.remarks(answers) == (
        Change("act.relabel", None, {"threshold": 0.5}),
        Change("reset", None, "1"),
    )


def test_a_kind_of_another_version_is_refused() -> None:
    assert Training().execute("explode").state == "failed"


def test_an_action_that_exits_has_failed() -> None:
    answer = Training(leave=lambda: sys.exit("enough")).execute("act", action="leave")
    assert (answer.state, answer.error) == ("failed", "SystemExit: enough")


def test_an_evaluation_that_exits_ends_the_process() -> None:
    training = Training()
    training.error = SystemExit("enough")
    with pytest.raises(SystemExit):
        training.execute("evaluate")


def test_an_evaluation_that_fails_is_an_answer() -> None:
    training = Training()
    training.error = InvalidInput("evaluate", None, "a function")
    answer = training.execute("evaluate")
    assert answer.state == "failed" and "a function" in str(answer.error)


def test_an_interruption_stays_one() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Training(leave=interrupted).execute("act", action="leave")
