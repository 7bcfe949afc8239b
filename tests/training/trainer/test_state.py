"""What a Trainer's training consists of is read from it, and restored where its loop resets it."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers.trainer_callback import ExportableState, TrainerCallback

from branchtrack.errors import InvalidInput
from branchtrack.training.trainer import state


class Patience(TrainerCallback, ExportableState):
    """A callback with a counter."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def state(self) -> dict[str, Any]:
        """Its counter, as transformers exports it."""
        return {"args": {}, "attributes": {"count": self.count}}


def trainer(*callbacks: Any, **facts: Any) -> Any:
    model = torch.nn.Linear(2, 1)
    defaults: dict[str, Any] = {
        "callback_handler": SimpleNamespace(callbacks=list(callbacks)),
        "model": model,
        "accelerator": SimpleNamespace(),
        "_tr_loss": torch.tensor(0.0),
        "_total_loss_scalar": 0.0,
        "_globalstep_last_logged": 0,
        "_bt_first_step": 0,
        "get_decay_parameter_names": lambda _: ["weight"],
    }
    return SimpleNamespace(**{**defaults, **facts})


def window(**facts: Any) -> dict[str, Any]:
    defaults = {"loss": torch.tensor(3.0), "last_logged": 4, "total": 9.0, "first_step": 2}
    return {"window": {**defaults, **facts}, "callbacks": {}}


def test_the_open_logging_window_is_restored() -> None:
    target = trainer()
    loss = target._tr_loss
    state.restore_window(target, window())
    assert target._tr_loss is loss and loss.item() == 3.0
    assert (target._total_loss_scalar, target._globalstep_last_logged) == (9.0, 4)
    assert target._bt_first_step == 2


def test_a_node_of_an_earlier_version_has_the_mean_loss_of_its_process_alone() -> None:
    stored = window()
    del stored["window"]["total"], stored["window"]["first_step"]
    target = trainer(_total_loss_scalar=1.0)
    state.restore_window(target, stored)
    assert target._total_loss_scalar == -2.0


def test_callbacks_of_one_class_get_their_counters_in_order() -> None:
    first, second, third = Patience(), Patience(), Patience(7)
    stored = window()
    stored["callbacks"] = {"Patience": [{"count": 1}, {"count": 2}], "Gone": [{"count": 3}]}
    state.restore_window(trainer(first, object(), second, third), stored)
    assert [callback.count for callback in (first, second, third)] == [1, 2, 7]


@pytest.mark.parametrize(
    ("decays", "decayed"),
    [((0.1, 0.0), [True, False]), ((0.0, 0.0), [True, False])],
)
def test_which_groups_are_meant_to_be_decayed_is_known_before_any_is(
    decays: tuple[float, float], decayed: list[bool]
) -> None:
    target = trainer()
    parameters = [target.model.weight, target.model.bias]
    groups = [
        {"params": [parameter], "weight_decay": decay}
        for parameter, decay in zip(parameters, decays, strict=True)
    ]
    assert state._decayed(target, torch.optim.SGD(groups, 0.1)) == decayed


def test_a_group_without_any_decayed_parameter_is_decayed_where_all_are_such() -> None:
    target = trainer(get_decay_parameter_names=lambda _: [])
    optimizer = torch.optim.SGD(target.model.parameters(), 0.1)
    assert state._decayed(target, optimizer) == [True]


def test_the_holder_of_a_functions_state_is_found() -> None:
    class Loss:
        def compute(self) -> None: ...

    loss = Loss()
    assert state._holder(loss.compute) is loss and state._holder(loss) is loss
    bound = state._holder(partial(print, 1, sep="x"))
    assert (bound.args, bound.sep) == ([1], "x")


def test_counters_of_numpy_are_stored_as_plain_numbers() -> None:
    assert type(state._plain(np.float64(0.5))) is float and state._plain("a") == "a"


def test_a_scaler_is_restored_only_of_a_whole_state(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    scaler = SimpleNamespace(load_state_dict=loaded.append)
    target = trainer(accelerator=SimpleNamespace(scaler=scaler))
    snapshot: Any = None
    monkeypatch.setattr(state.snapshots, "loop_state", lambda _: {"scaler": {"scale": 2.0}})
    state.restore_scaler(target, snapshot, "weights")
    state.restore_scaler(trainer(), snapshot, "exact")
    assert loaded == []
    state.restore_scaler(target, snapshot, "exact")
    assert loaded == [{"scale": 2.0}]


@pytest.mark.parametrize("dataset", [[1], {"a": [1], "b": [2]}])
def test_an_evaluation_calls_no_callback_and_draws_no_number(dataset: Any) -> None:
    seen: list[Any] = []

    def evaluate(loader: Any, *, metric_key_prefix: str, **_: Any) -> Any:
        torch.rand(1)
        seen.append((loader, list(target.callback_handler.callbacks)))
        return SimpleNamespace(metrics={f"{metric_key_prefix}_loss": 1.0})

    callback = Patience()
    target = trainer(
        callback,
        eval_dataset=dataset,
        compute_metrics=None,
        get_eval_dataloader=lambda name: name,
        evaluation_loop=evaluate,
    )
    before = torch.get_rng_state()
    metrics = state.evaluate(target)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(callbacks == [] for _, callbacks in seen)
    assert target.callback_handler.callbacks == [callback]
    expected = {"eval_loss"} if isinstance(dataset, list) else {"eval_a_loss", "eval_b_loss"}
    assert metrics.keys() == expected


def test_without_held_out_data_there_is_nothing_to_evaluate() -> None:
    with pytest.raises(InvalidInput, match="nothing to evaluate on"):
        state.evaluate(trainer(eval_dataset=None))


@pytest.mark.parametrize(
    ("should_stop", "step", "requested", "ended"),
    [
        (True, 5, False, True),
        (True, 5, True, False),
        (True, 9, False, False),
        (False, 5, False, False),
    ],
)
def test_only_a_callback_ends_a_training_for_good(
    should_stop: bool, step: int, requested: bool, ended: bool
) -> None:
    target = trainer(
        control=SimpleNamespace(should_training_stop=should_stop),
        state=SimpleNamespace(global_step=step, max_steps=9),
        _bt_session=SimpleNamespace(stop_asked=requested),
    )
    assert state._has_ended(target) is ended
    target._bt_session = None
    assert not state._has_ended(target)
