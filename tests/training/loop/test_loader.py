"""Loops that another library owns: their loader is tracked, or it is said that it is not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import branchtrack
from branchtrack.errors import CheckpointMismatch, InvalidInput
from tests.matrices import some
from tests.training import loops
from tests.training.homes import Home


def library(loader: Any, passes: int) -> Iterator[Any]:
    """A loop of its own: so many passes over a loader whose iterator it makes early."""
    for _ in range(passes):
        yield from iter(loader)


def train(home: Home, launch: Any = None, tracked: bool = True, **given: Any) -> list[Any]:
    """Train in the hooks of a library's loop; returns the batches that it trained."""
    model = loops.net()
    optimizer = loops.sgd(model)
    loader: Any = loops.loader()
    if tracked:
        loader = branchtrack.track_loader(loader)
    batches, run = [], None
    for batch in library(loader, 3):
        if run is None:
            with loops.process(home, launch):
                run = branchtrack.start(
                    "tiny",
                    model=model,
                    optimizer=optimizer,
                    data=loader,
                    max_steps=9,
                    save_steps=1,
                    seed=5,
                    **given,
                )
        loss = loops.loss_of(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        run.log(loss=loss)
        batches.append(batch)
        if run.step():
            break
    assert run is not None
    run.finish()
    return batches


def early(home: Home, launch: Any = None, steps: int = 9) -> list[torch.Tensor]:
    """The same where the run begins before the library reads anything."""
    model, loader = loops.net(), loops.loader()
    optimizer = loops.sgd(model)
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny",
            model=model,
            optimizer=optimizer,
            data=loader,
            max_steps=steps,
            save_steps=1,
            seed=5,
        )
    batches = []
    with run:
        for batch in library(run.track_loader(loader), 3):
            loss = loops.loss_of(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)
            batches.append(batch[0])
            if run.step():
                break
    return batches


@pytest.mark.parametrize("step", some([0, 3, 6, 7], 3, 7))
def test_a_tracked_loader_goes_on_within_its_pass(home: Home, step: int) -> None:
    whole = early(home)
    launch = home.order(home.node(step))
    again = early(home, launch)
    assert len(again) == 9 - step
    assert all(torch.equal(a, b) for a, b in zip(whole[step:], again, strict=True))
    assert home.final(launch).state_digest == home.final().state_digest
    compared = home.fork(launch).compared
    assert compared is not None and compared["state"] == "equal"


def test_a_loader_that_is_bound_late_gives_the_same(home: Home) -> None:
    """A library may make its iterator before the hook in which the run begins."""
    loader = branchtrack.track_loader(loops.loader())
    iterator = iter(loader)
    model = loops.net()
    with loops.process(home):
        run = branchtrack.start(
            "tiny", model=model, optimizer=loops.sgd(model), data=loader, max_steps=9
        )
    next(iterator)
    assert run._batches is not None and run._batches.batches == 1
    assert loader.batch_size == loops.BATCH and len(loader) == 7
    run.finish()


def test_data_that_nobody_reads_is_said_and_refused(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        train(home, tracked=False)
    assert caplog.text.count("has its batches from elsewhere") == 1
    launch = home.order(home.node(4))
    with pytest.raises(CheckpointMismatch, match="taken from elsewhere") as error:
        train(home, launch, tracked=False)
    assert "--mode weights" in str(error.value)
    weights = home.order(home.node(4), mode="weights")
    assert train(home, weights, tracked=False)


@pytest.mark.parametrize("loader", [None, 3, "abc", b"abc", list])
def test_what_is_no_loader_cannot_be_tracked(loader: Any) -> None:
    with pytest.raises(InvalidInput, match="DataLoader") as caught:
        branchtrack.track_loader(loader)
    assert caught.value.field == "loader"


def test_another_loader_or_one_that_is_read_once_cannot_be_tracked(home: Home) -> None:
    with pytest.raises(InvalidInput, match="loader"):
        branchtrack.track_loader(iter([1]))
    model = loops.net()
    with loops.process(home):
        run = branchtrack.start(
            "tiny", model=model, optimizer=loops.sgd(model), data=loops.loader()
        )
    with pytest.raises(InvalidInput, match="the loader that start"):
        run.track_loader(loops.loader())
    run.finish()
