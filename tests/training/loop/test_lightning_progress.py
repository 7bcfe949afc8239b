"""Lightning's counters and callbacks go on where the node was, or it is said that they do not."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

import branchtrack
from branchtrack.training.loop.run import Run
from tests.matrices import some
from tests.training import loops
from tests.training.homes import Home
from tests.training.loop.test_companions import goes_on_exactly

lightning = pytest.importorskip("lightning")
callbacks = pytest.importorskip("lightning.pytorch.callbacks")
average = partial(callbacks.EMAWeightAveraging, decay=0.8)


class Module(lightning.LightningModule):
    """A small network whose loss depends on what Lightning counts."""

    def __init__(self, schedule: Callable[[Any], Any] | None, interval: str) -> None:
        super().__init__()
        self.net = loops.net()
        self.schedule, self.interval = schedule, interval

    def training_step(self, batch: Any, number: int) -> Any:
        counted = 1 + self.trainer.global_step % 5 + self.current_epoch + number
        return loops.loss_of(self.net, batch) * counted

    def configure_optimizers(self) -> Any:
        optimizer = loops.sgd(self.net, 0.01)
        if self.schedule is None:
            return optimizer
        scheduler = {"scheduler": self.schedule(optimizer), "interval": self.interval}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


class Track(lightning.Callback):
    """What the README shows."""

    def __init__(self, home: Home, launch: Any, loader: Any) -> None:
        self.home, self.launch, self.loader = home, launch, loader
        self.run: Any = None

    def on_train_start(self, trainer: Any, module: Any) -> None:
        with loops.process(self.home, self.launch):
            self.run = branchtrack.start(
                "tiny",
                model=module,
                optimizer=trainer.optimizers[0],
                data=self.loader,
                max_steps=15,
                save_steps=1,
                seed=5,
            )

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int
    ) -> None:
        self.run.log(loss=outputs["loss"], lr=trainer.optimizers[0].param_groups[0]["lr"])
        trainer.should_stop = self.run.step()

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self.run.finish()


class Ends(lightning.Callback):
    """A callback of the script's that counts epochs as they end."""

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.ended = getattr(self, "ended", 0) + 1


def fit(
    home: Home,
    launch: Any = None,
    *,
    before: tuple[Callable[[], Any], ...] = (),
    after: tuple[Callable[[], Any], ...] = (),
    schedule: Callable[[Any], Any] | None = None,
    interval: str = "step",
    **given: Any,
) -> Run:
    """Train in a Trainer of Lightning's; seven batches are an epoch."""
    loader = branchtrack.track_loader(loops.loader())
    track = Track(home, launch, loader)
    every = [*(make() for make in before), track, *(make() for make in after)]
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            callbacks=every, accelerator="cpu", **{"max_epochs": 9, **quiet, **given}
        )
        trainer.fit(Module(schedule, interval), loader)
    run: Run = track.run
    return run


#: How a Trainer is made, and the step of the node to go on from.
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "root": ({}, 0),
    "counters": ({}, 7),
    "steps": ({"schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)}, 5),
    "epochs": (
        {"schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5), "interval": "epoch"},
        5,
    ),
    "accumulates": ({"accumulate_grad_batches": 3}, 10),
    "limited": ({"limit_train_batches": 7, "accumulate_grad_batches": 2}, 5),
}


@pytest.mark.parametrize("case", some(CASES, "counters", "epochs", "accumulates"))
def test_lightning_goes_on_where_the_node_was(home: Home, case: str) -> None:
    how, step = CASES[case]
    goes_on_exactly(home, partial(fit, **how), step)


def test_an_averaged_model_goes_on(home: Home) -> None:
    goes_on_exactly(home, partial(fit, before=(average,)), 5)


def test_one_after_the_callback_that_steps_is_said(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fit(home, after=(average,))
    assert "Put it before that one" in caplog.text
    again = fit(home, home.order(home.node(5)), after=(average,))
    (name,) = again._session.not_restored
    assert name.startswith("callback.EMAWeightAveraging (after")


def test_what_follows_the_last_batch_of_an_epoch_is_said(home: Home) -> None:
    fit(home, before=(Ends,))
    again = fit(home, home.order(home.node(7)), before=(Ends,))
    assert again._session.not_restored == ["callback.Ends (at the end of the node's epoch)"]
    within = fit(home, home.order(home.node(10)), before=(Ends,))
    assert within._session.not_restored == []


def test_a_trainer_that_is_over_by_its_own_count_says_so(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    fit(home)
    fit(home, home.order(home.node(10)), max_steps=8)
    assert "Trainer(max_steps=8) ends at once" in caplog.text
