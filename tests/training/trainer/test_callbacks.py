"""A Trainer comes to a control point where a save is due, a request waits or training ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers.trainer_utils import SaveStrategy

from branchtrack.training.trainer import opening
from branchtrack.training.trainer import state as trainer_state
from branchtrack.training.trainer.callbacks import Ends, Events
from branchtrack.training.trainer.data import Bounds


class FakeSession:
    """A session that notes its control points."""

    is_begun = records = True
    is_called = stop_asked = is_reading = False
    expecting = witness = None

    def __init__(self) -> None:
        self.points: list[dict[str, Any]] = []
        self.step = 0

    def advance(self, step: int) -> None:
        self.step = step

    def control_point(self, _point: Any, **how: Any) -> None:
        self.points.append(how)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the callback reads of a Trainer in the middle of its second epoch."""
    monkeypatch.setattr(trainer_state, "live_objects", lambda _: None)
    monkeypatch.setattr("branchtrack.training.trainer.callbacks.live_objects", lambda _: None)
    monkeypatch.setattr(opening, "point_at_newest", lambda *_: None)
    arguments = {"load_best_model_at_end": False, "push_to_hub": False}
    return SimpleNamespace(
        args=SimpleNamespace(save_strategy=SaveStrategy.STEPS, **arguments),
        state=SimpleNamespace(epoch=1.5, global_step=9, max_steps=18),
        control=control(),
        _bt_session=FakeSession(),
        _bt_position=SimpleNamespace(epoch=2, end=lambda **_: None),
        _bt_bounds=None,
    )


def control() -> Any:
    return SimpleNamespace(should_save=False, should_training_stop=False, should_epoch_stop=False)


def end_step(trainer: Any, events: Events) -> bool:
    """Whether the callback asks for a save at the end of an update."""
    events.on_step_end(trainer.args, trainer.state, trainer.control)
    return bool(trainer.control.should_save)


def test_an_idle_update_asks_for_nothing(trainer: Any) -> None:
    assert not end_step(trainer, Events(trainer)) and trainer._bt_session.step == 9


def test_a_request_makes_the_loop_save_without_a_save_being_due(trainer: Any) -> None:
    events = Events(trainer)
    trainer._bt_session.is_called = True
    assert end_step(trainer, events) and not events.control_point()
    assert trainer._bt_session.points == [{"save": False, "final": False, "epoch_over": False}]


def test_a_save_of_the_scripts_own_is_due(trainer: Any) -> None:
    events = Events(trainer)
    end_step(trainer, events)
    assert not events.control_point(), "its files are not needed"
    assert trainer._bt_session.points[0]["save"]
    trainer.args.load_best_model_at_end = True
    assert events.control_point(), "the best model is loaded from them"


def test_a_stop_that_was_asked_for_ends_the_loop(trainer: Any) -> None:
    trainer._bt_session.stop_asked = True
    Events(trainer).control_point()
    assert trainer.control.should_training_stop


def test_a_save_at_the_last_update_of_an_epoch_waits_for_its_end(trainer: Any) -> None:
    events = Events(trainer)
    trainer.state.epoch = 2.0
    assert events.puts_off()
    trainer._bt_session.is_due = lambda **how: how["save"]
    events.on_epoch_end(trainer.args, trainer.state, trainer.control)
    assert trainer.control.should_save and not events.puts_off() and events.takes_due()


def test_training_ends_with_the_scripts_last_epoch(trainer: Any) -> None:
    trainer.args.gradient_accumulation_steps = 1
    for epochs, ends in ((4, False), (3, True)):
        trainer._bt_bounds = Bounds(epochs, 6, 18, 1)
        Ends(trainer).on_epoch_end(trainer.args, trainer.state, trainer.control)
        assert trainer.control.should_training_stop == ends


def test_an_end_that_was_changed_is_obeyed_instead(trainer: Any) -> None:
    trainer.args.gradient_accumulation_steps = 1
    trainer._bt_bounds = Bounds(3, 6, 12, 1)
    Ends(trainer).on_epoch_end(trainer.args, trainer.state, trainer.control)
    assert not trainer.control.should_training_stop
