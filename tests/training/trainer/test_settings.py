"""Settings of a Trainer's loop are written where it reads them, together or not at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.trainer_pt_utils import LabelSmoother
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from branchtrack.errors import InvalidInput
from branchtrack.training.settings.author import Values
from branchtrack.training.settings.live import Live
from branchtrack.training.trainer.settings import Counted, TrainerSettings, check_names
from tests.training.settings.two_groups import two_groups


class Labelled(torch.nn.Linear):
    """A model that computes its loss from labels, if it gets any."""

    def forward(self, x: Any, labels: Any = None) -> Any:
        """As a linear layer."""
        return super().forward(x)


class Needing(torch.nn.Linear):
    """A model that cannot do without labels."""

    def forward(self, x: Any, labels: Any) -> Any:
        """As a linear layer."""
        return super().forward(x)


@pytest.fixture
def trainer() -> Any:
    """What is read of a Trainer with a schedule of the script's own."""
    args = SimpleNamespace(
        seed=1,
        gradient_accumulation_steps=1,
        train_sampling_strategy="random",
        train_batch_size=4,
        logging_strategy=IntervalStrategy.STEPS,
        eval_strategy=IntervalStrategy.STEPS,
        save_strategy=SaveStrategy.STEPS,
        logging_steps=1,
        eval_steps=2,
        save_steps=4,
        load_best_model_at_end=False,
        lr_scheduler_type="linear",
        lr_scheduler_kwargs=None,
        warmup_steps=0,
        metric_for_best_model=None,
        greater_is_better=None,
    )
    state = SimpleNamespace(
        global_step=3, max_steps=20, logging_steps=1, eval_steps=2, save_steps=4
    )
    return SimpleNamespace(
        args=args,
        state=state,
        model=Labelled(2, 1),
        label_smoother=None,
        lr_scheduler=None,
        callback_handler=SimpleNamespace(lr_scheduler=None),
        _created_lr_scheduler=False,
        _train_batch_size=4,
        _bt_bounds=object(),
        _bt_schedule=None,
        _bt_made=None,
        _bt_position=None,
        _bt_values=Values({"alpha": 0.5}),
    )


@pytest.fixture
def live() -> Live:
    """The objects that the Trainer trains with."""
    return two_groups()


def test_what_the_loop_reads_can_be_changed(trainer: Any, live: Live) -> None:
    settings = TrainerSettings(trainer)
    values = {"logging_steps": 5, "max_steps": 30, "gradient_accumulation_steps": 2}
    settings.write(live, values)
    assert {name: settings.read(name) for name in values} == values
    assert trainer.args.logging_steps == trainer.state.logging_steps == 5


def test_a_loop_whose_bounds_are_fixed_only_tells_its_end(trainer: Any) -> None:
    trainer._bt_bounds = None
    settings = TrainerSettings(trainer)
    assert not {"max_steps", "gradient_accumulation_steps"} & settings.declared.keys()
    assert settings.fixed() == {
        "batch_size": 4,
        "seed": 1,
        "max_steps": 20,
        "gradient_accumulation_steps": 1,
    }


def test_a_cadence_of_epochs_counts_no_steps(trainer: Any, live: Live) -> None:
    trainer.args.save_strategy = SaveStrategy.EPOCH
    settings = TrainerSettings(trainer)
    assert "save_steps" not in settings.declared and "eval_steps" in settings.declared
    with pytest.raises(InvalidInput) as caught:
        settings.write(live, {"save_steps": 2})
    assert caught.value.field == "save_steps"


def test_saves_of_the_best_model_come_where_it_is_evaluated(trainer: Any, live: Live) -> None:
    settings = TrainerSettings(trainer)
    settings.write(live, {"eval_steps": 3})
    trainer.args.load_best_model_at_end = True
    with pytest.raises(InvalidInput, match="multiple of eval_steps"):
        settings.write(live, {"save_steps": 7})
    settings.write(live, {"eval_steps": 2, "save_steps": 6})


def test_a_change_that_is_taken_back_leaves_everything_as_it_was(trainer: Any, live: Live) -> None:
    settings = TrainerSettings(trainer)
    put_back = settings.kept(live)
    settings.write(live, {"eval_steps": 3, "max_steps": 30, "label_smoothing_factor": 0.1})
    put_back()
    assert (trainer.state.eval_steps, trainer.args.eval_steps) == (2, 2)
    assert (trainer.state.max_steps, trainer.label_smoother) == (20, None)


@pytest.mark.parametrize(
    ("model", "problem", "smooths"),
    [
        (Labelled(2, 1), None, True),
        (torch.nn.Linear(2, 1), None, True),
        (Needing(2, 1), None, False),
        (Labelled(2, 1), "multi_label_classification", False),
    ],
)
def test_labels_are_smoothed_only_where_the_loss_takes_them(
    trainer: Any, model: Any, problem: str | None, smooths: bool
) -> None:
    model.config = SimpleNamespace(problem_type=problem)
    trainer.model = model
    assert ("label_smoothing_factor" in TrainerSettings(trainer).declared) is smooths


def test_smoothing_that_no_loss_has_used_is_not_in_force(trainer: Any, live: Live) -> None:
    settings = TrainerSettings(trainer)
    settings.write(live, {"label_smoothing_factor": 0.1})
    settings.begin_update()
    assert settings.used() == {"alpha": None, "label_smoothing_factor": None}
    smoother = trainer.label_smoother
    smoother({"logits": torch.zeros(1, 2, 3)}, torch.zeros(1, 2, dtype=torch.long))
    assert trainer._bt_values["alpha"] == 0.5
    assert settings.used() == {"alpha": 0.5}
    settings.begin_update()
    assert settings.used() == {"alpha": None, "label_smoothing_factor": None}
    settings.write(live, {"label_smoothing_factor": 0.0})
    assert trainer.label_smoother is None


def test_a_smoother_of_the_trainers_own_is_counted_with_its_options(trainer: Any) -> None:
    trainer.label_smoother = LabelSmoother(epsilon=0.2, ignore_index=-1)
    TrainerSettings(trainer).begin_update()
    smoother = trainer.label_smoother
    assert isinstance(smoother, Counted)
    assert (smoother.epsilon, smoother.ignore_index) == (0.2, -1)


def test_a_value_of_the_scripts_with_the_name_of_a_setting_is_refused(live: Live) -> None:
    live.values = Values({"alpha": 0.5})
    check_names(live)
    live.values = Values({"lr": 0.5})
    with pytest.raises(InvalidInput, match="lr is a setting already"):
        check_names(live)
