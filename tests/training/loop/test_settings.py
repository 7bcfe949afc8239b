"""A plain loop's end, cadence and schedule change while it trains, and its resumes keep them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from torch.optim import lr_scheduler as schedulers

from branchtrack.training.loop.run import Run
from tests.matrices import some
from tests.training import loops
from tests.training.homes import Home


def asks(home: Home, values: dict[str, Any], step: int = 4) -> tuple[list[Any], Any]:
    """What a loop is to call before each control point, to be asked at one; and the requests."""
    sent: list[Any] = []

    def at(run: Run, optimizer: Any) -> None:
        if run.update != step:
            return
        sent.append(home.ask("set", values=values))
        deadline = time.monotonic() + 60
        while not run._session.recorder.inbox.pending and time.monotonic() < deadline:
            time.sleep(0.002)

    return sent, at


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, 20),
    "lambda": lambda o: schedulers.LambdaLR(o, lambda step: 0.9**step),
    "sequence": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, total_iters=3), schedulers.StepLR(o, 2)], [5]
    ),
}


@pytest.mark.parametrize("kind", some(SCHEDULES, "cosine", "sequence"))
def test_a_schedule_that_is_held_stays_held_in_every_resume(kind: str, home: Home) -> None:
    sent, at = asks(home, {"schedule_held": True, "lr": 0.2})
    how: dict[str, Any] = {"scheduler": SCHEDULES[kind], "max_steps": 8}
    loops.train(home, at=at, **how)
    assert home.request(sent[0].id).state == "verified", home.request(sent[0].id).error
    rates = home.points("lr", home.segment().id)
    assert {rates[step] for step in (5, 6, 7, 8)} == {rates[5]}
    final = home.final()
    for step in (4, 5):
        launch = home.order(home.node(step))
        loops.train(home, launch, **how)
        assert home.final(launch).state_digest == final.state_digest
    launch = home.order(home.node(5), {"schedule_held": False})
    loops.train(home, launch, **how)
    effective = home.fork(launch).effective
    assert effective is not None and effective["verified"] is True
    assert len(set(home.points("lr", launch.segment_id).values())) > 1


def test_the_end_and_the_cadence_are_moved(home: Home) -> None:
    sent, at = asks(home, {"max_steps": 7, "save_steps": 3})
    loops.train(home, at=at, save_steps=2, max_steps=12)
    assert home.request(sent[0].id).state == "verified"
    assert [node.step for node in home.nodes()] == [0, 2, 4, 6, 7]
    assert home.final().kind == "final" and home.final().settings["max_steps"] == 7
    launch = home.order(home.node(6))
    loops.train(home, launch, save_steps=2, max_steps=12)
    assert home.final(launch).state_digest == home.final().state_digest


@pytest.mark.parametrize(
    ("step", "values", "words"),
    [
        (4, {"max_steps": 4}, "greater than"),
        (9, {"max_steps": 20}, "too late"),
    ],
)
def test_an_end_that_cannot_be_is_refused(
    step: int, values: dict[str, Any], words: str, home: Home
) -> None:
    sent, at = asks(home, values, step)
    loops.train(home, at=at, scheduler=lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=12))
    request = home.request(sent[0].id)
    assert request.state == "failed" and words in str(request.error)
    assert home.final().step == 9 == home.final().settings["max_steps"]
