"""Requests that wait for a step or a condition are carried out at that moment, or never."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from branchtrack import control
from branchtrack.core.records import Request
from branchtrack.db import segments
from branchtrack.errors import InvalidInput
from branchtrack.training.loop.run import Run
from tests.recordings import at, recording
from tests.training import loops
from tests.training.homes import Home
from tests.training.session.test_session import SHORT, asked
from tests.training.test_controlling import SAVE_LESS, answered, ask, asking, later, train


def test_a_scheduled_request_is_carried_out_at_its_moment_alone(home: Home) -> None:
    every = train(
        home,
        {
            2: [
                ask("set", {"at_step": 6}, values={"lr": "x0.5"}),
                ask("set", {"at_step": 4}, values={"lr": 0.08}),
                ask("freeze", {"once": "step>=5 and loss<1000"}, modules="0"),
                ask("set", {"once": "accuracy>2"}, values={"lr": 0.5}),
                ask("set", {"at_step": 7, "only_if": {"lr": 0.08}}, values={"lr": 0.3}),
            ]
        },
    )
    assert [one.state for one in every] == ["verified", "verified", "verified", "expired", "failed"]
    assert [one.step for one in every[:3]] == [6, 4, 5]
    assert every[0].applied == {"lr": 0.04} and every[0].requested == {"values": {"lr": "x0.5"}}
    assert "lr is 0.08, but it is 0.04" in (every[4].error or "")
    assert home.final().settings["lr"] == 0.04 and home.final().settings["frozen"] == "0"
    assert home.chain_break() is None


def test_a_step_that_is_past_by_the_time_it_is_seen_is_not_made_up_for(home: Home) -> None:
    def late(home: Home) -> Request:
        # The record has the step of the last heartbeat.
        return ask("set", {"at_step": 1}, values={"lr": 0.5})(home)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "heartbeat", lambda *_args, **_given: None)
        (request,) = train(home, {4: [late]})
    assert (request.state, request.applied) == ("expired", None)
    assert "Step 1 had passed: training is at step 4" in (request.error or "")


def test_a_training_that_is_held_takes_what_is_scheduled_for_its_step(home: Home) -> None:
    def look(home: Home) -> None:
        answered(ask("set", {"at_step": 4}, values={"lr": 0.05}))(home)
        answered(ask("checkpoint", {"once": "loss<1000"}))(home)
        ask("set", {"at_step": 6}, values={"lr": 0.02})(home)
        ask("unpause")(home)

    thread = later(home, look)
    every = train(home, {4: [ask("pause")]})
    thread.join()
    assert [one.step for one in every] == [4, 4, 4, 6, 4]
    assert every[1].state == every[3].state == "verified" and every[2].state == "done"


def test_a_scheduled_request_can_be_cancelled_while_it_waits(home: Home) -> None:
    def cancel(run: Run, _optimizer: Any) -> None:
        if run.step_number == 2:
            request = ask("set", {"at_step": 8}, values={"lr": 0.5})(home)
            control.cancel(home.database, request.id, actor="bob")
            assert control.wait(home.database, request.id, 20).state == "cancelled"

    loops.train(home, at=asking(home, {}, cancel))
    assert [one.state for one in home.requests()] == ["cancelled"]


def test_what_is_scheduled_is_refused_at_the_door_if_it_cannot_come(home: Home) -> None:
    fields = []

    def refused(home: Home) -> None:
        for when, fields_of in (
            ({"at_step": loops.STEPS + 1}, {"values": {"lr": 0.5}}),
            ({"once": "loss<<1"}, {"values": {"lr": 0.5}}),
            ({"at_step": 5, "once": "loss<1"}, {"values": {"lr": 0.5}}),
            ({"at_step": 5}, {"values": {"lr": -1}}),
        ):
            with pytest.raises(InvalidInput) as caught:
                ask("set", when, **fields_of)(home)
            fields.append(caught.value.field)
        with pytest.raises(InvalidInput) as caught:
            ask("stop", {"at_step": 5}, when="epoch")(home)
        fields.append(caught.value.field)
        ask("note", text="done")(home)

    loops.train(home, at=lambda run, _: run.step_number == 2 and refused(home), **SAVE_LESS)
    assert fields == ["at_step", "once", "once", "lr", "at_step"]


def test_the_last_of_a_model_is_not_frozen_later_either(home: Home) -> None:
    every = train(
        home,
        {
            2: [
                ask("freeze", {"at_step": 4}, modules="0,1"),
                ask("freeze", {"at_step": 5}, modules="4"),
            ]
        },
    )
    assert [one.state for one in every] == ["verified", "failed"]
    assert "leave something to train" in (every[1].error or "")


def test_a_trainer_carries_out_a_request_at_the_step_whose_values_it_waits_for(home: Home) -> None:
    how = {"eval_strategy": "steps", "eval_steps": 3, "logging_steps": 1}
    asked(
        home,
        {
            0: lambda: control.submit(
                home.database,
                "tiny/main",
                {"kind": "set", "values": {"lr": 2e-4}},
                actor="ann",
                when={"once": "eval_loss<1000"},
            )
        },
        **how,
    )
    (request,) = home.requests()
    assert (request.state, request.step) == ("verified", 3)


@pytest.mark.parametrize("kind", ["loop", "trainer"])
def test_what_is_scheduled_for_the_node_of_a_resume_is_made_before_its_first_update(
    home: Home, kind: str
) -> None:
    if kind == "loop":
        train_: Any = partial(loops.train, home)
        how: dict[str, Any] = {"save_steps": 2}
    else:
        train_, how = home.train, {**SHORT, "save_steps": 2}
    train_(**how)
    node = home.node(4, kind="checkpoint")
    declared = home.order(node, {"lr": 0.002})
    train_(declared, **how)
    sent = recording(at(4, kind="set", values={"lr": 0.002}))
    launch, _sent = control.launch_replay(
        home.database, home.store, node.id, sent, actor="ann", name="set"
    )
    train_(launch, **how)
    request = home.requests()[-1]
    assert (request.state, request.step) == ("verified", 4)
    assert home.final(launch).state_digest == home.final(declared).state_digest
    assert home.fork(launch).effective is not None
