"""Schedulers not given, accelerate's count, Lightning's progress: found and given back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import accelerate
import pytest
import torch

import branchtrack
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.loop import companions
from branchtrack.training.loop.run import Run
from tests.matrices import some
from tests.training import loops
from tests.training.homes import Home

schedules = torch.optim.lr_scheduler
Make = Callable[[Any], list[Any]]


def step_lr(optimizer: Any) -> list[Any]:
    return [schedules.StepLR(optimizer, 2, 0.5)]


def sequential(optimizer: Any) -> list[Any]:
    parts = [schedules.LinearLR(optimizer, 0.1, 1.0, 3), schedules.ExponentialLR(optimizer, 0.7)]
    return [schedules.SequentialLR(optimizer, parts, [3])]


def chained(optimizer: Any) -> list[Any]:
    parts = [schedules.StepLR(optimizer, 2, 0.5), schedules.ExponentialLR(optimizer, 0.9)]
    return [schedules.ChainedScheduler(parts, optimizer)]


def plateau(optimizer: Any) -> list[Any]:
    return [schedules.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)]


def two(optimizer: Any) -> list[Any]:
    return [*step_lr(optimizer), schedules.ExponentialLR(optimizer, 0.9)]


def nothing(_optimizer: Any) -> list[Any]:
    return []


def train(
    home: Home, launch: Any = None, make: Make = step_lr, after: Make = nothing, **given: Any
) -> Run:
    """A loop whose schedulers are not given to `start`; ``after`` makes them behind it."""
    model = loops.net()
    optimizer = loops.sgd(model)
    made = make(optimizer)
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny",
            model=model,
            optimizer=optimizer,
            data=loops.loader(),
            max_steps=9,
            save_steps=1,
            seed=5,
            **given,
        )
    made += after(optimizer)
    with run:
        for batch in run.batches():
            loss = loops.loss_of(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            for scheduler in made:
                metrics = [1.0] if isinstance(scheduler, schedules.ReduceLROnPlateau) else []
                scheduler.step(*metrics)
            run.log(loss=loss, lr=optimizer.param_groups[0]["lr"])
            if run.step():
                break
    return run


def goes_on_exactly(home: Home, train: Callable[..., Any], step: int) -> None:
    """The same losses and the same final state from a node on."""
    run = train(home)
    launch = home.order(home.node(step))
    again = train(home, launch)
    assert loops.logged(home, launch.segment_id) == loops.logged(home, home.segment().id, step)
    assert home.final(launch).state_digest == home.final().state_digest
    assert again._session.not_restored == [] == run._session.not_restored
    compared = home.fork(launch).compared
    assert compared is not None and compared["state"] == "equal"


@pytest.mark.parametrize("make", some([step_lr, sequential, chained, plateau], sequential, plateau))
def test_a_scheduler_that_start_was_not_given_goes_on(home: Home, make: Make) -> None:
    goes_on_exactly(home, lambda *given: train(*given, make=make), 5)


def test_of_several_schedulers_none_is_chosen_and_it_is_said(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        train(home, make=two)
    assert caplog.text.count("has 2 schedulers that was not passed to start()") == 1
    assert "start(scheduler=...)" in caplog.text
    again = train(home, home.order(home.node(5)), make=two)
    assert again._session.not_restored == ["scheduler (ExponentialLR, StepLR)"]


def test_a_scheduler_among_the_extra_objects_is_left_to_them(home: Home) -> None:
    model = loops.net()
    optimizer = loops.sgd(model)
    (scheduler,) = step_lr(optimizer)
    assert companions.find(optimizer, None, {"schedule": scheduler}).scheduler is None


def test_one_that_cannot_be_stored_is_named() -> None:
    optimizer = loops.sgd(loops.net())
    (scheduler,) = step_lr(optimizer)
    scheduler.anything = object()
    around = companions.find(optimizer, None, {})
    assert around.scheduler is None and around.untracked == ["scheduler (StepLR)"]


def test_a_scheduler_that_is_made_after_start_is_named(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    train(home, make=nothing, after=step_lr)
    assert "made after start()" in caplog.text
    again = train(home, home.order(home.node(5)), make=nothing, after=step_lr)
    assert again._session.not_restored == ["scheduler (made after start)"]


def test_a_node_without_a_schedule_says_how_to_go_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions stored none where none was given."""
    with monkeypatch.context() as patch:
        patch.setattr(companions, "_scheduler_of", lambda *_: None)
        train(home)
    with pytest.raises(CheckpointMismatch, match="scheduler=script"):
        train(home, home.order(home.node(5)))
    launch = home.order(home.node(5), {"scheduler": "script"})
    train(home, launch)
    assert loops.logged(home, launch.segment_id)["lr"][6] == pytest.approx(0.1 * 0.5**3)


def test_each_of_several_optimizers_has_its_own_scheduler_found() -> None:
    model = loops.net()
    optimizers = {"a": loops.sgd(model[0]), "b": loops.sgd(model[1])}
    given, hidden = step_lr(optimizers["a"])[0], step_lr(optimizers["b"])[0]
    assert companions.find(optimizers, {"a": given}, {}).scheduler == {"a": given, "b": hidden}
    assert companions.find(optimizers, None, {}).scheduler == {"a": given, "b": hidden}


def test_a_loop_that_never_comes_back_says_what_it_lacks(home: Home) -> None:
    def own(home: Home, launch: Any = None) -> Run:
        model = loops.net()
        optimizer = loops.sgd(model)
        with loops.process(home, launch):
            run = branchtrack.start(
                "tiny", model=model, optimizer=optimizer, max_steps=6, save_steps=1, seed=5
            )
        model.count = 0
        while not run.is_over:
            model(torch.ones(4, 6)).sum().backward()
            model.count += 1
            optimizer.step()
            optimizer.zero_grad()
            run.step()
        return run

    own(home)
    again = own(home, home.order(home.node(3)))
    assert again._session.not_restored == ["model.count"]


def accelerated(home: Home, launch: Any = None) -> Run:
    """A loop that steps at every third batch by accelerate's count."""
    accelerator = accelerate.Accelerator(gradient_accumulation_steps=3, cpu=True)
    model = loops.net()
    optimizer = loops.sgd(model)
    (scheduler,) = step_lr(optimizer)
    model, optimizer, loader, scheduler = accelerator.prepare(
        model, optimizer, loops.loader(), scheduler
    )
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny",
            model=model,
            optimizer=optimizer,
            data=loader,
            max_steps=12,
            save_steps=1,
            seed=5,
        )
    with run:
        for batch in run.batches():
            with accelerator.accumulate(model):
                loss = loops.loss_of(model, batch)
                accelerator.backward(loss)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            run.log(loss=loss)
            if run.step():
                break
    return run


@pytest.mark.parametrize("step", some([4, 5, 7], 4, 7))
def test_accelerate_goes_on_accumulating_where_it_was(home: Home, step: int) -> None:
    goes_on_exactly(home, accelerated, step)
