"""A resume with other settings: the first update uses them, and the node says that it saw so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from branchtrack.core.records import Launch
from branchtrack.errors import CheckpointMismatch
from tests.matrices import some
from tests.training import tiny
from tests.training.callbacks import At, Spy
from tests.training.homes import Home
from tests.training.ways import way_out

ALL = {"lr": "5e-4", "weight_decay": "0.3", "max_grad_norm": "0.1"}
DECAYED: dict[str, Any] = {"weight_decay": 0.1, "save_steps": 4}
#: Nodes in the first epoch, and at the end of the second, two updates before the end.
EARLY, LATE = 4, 12


@pytest.fixture(scope="module")
def trained(shared_home: Home) -> Home:
    """A home in which ``tiny/main`` has been trained, with a node every fourth step."""
    shared_home.train(**DECAYED)
    return shared_home


def resume(
    home: Home, step: int, settings: dict[str, Any], **how: Any
) -> tuple[Launch, list[list[dict[str, Any]]]]:
    """Resume a node of ``tiny/main``; returns the launch and the groups of every update."""
    spy = Spy()
    launch = home.order(home.node(step), settings)
    home.train(launch, callbacks=lambda: [spy], **{**DECAYED, **how})
    return launch, spy.groups


@pytest.mark.parametrize("step", [0, EARLY, LATE])
def test_the_first_update_uses_the_new_settings(trained: Home, step: int) -> None:
    launch, groups = resume(trained, step, ALL)
    fork = trained.fork(launch)
    plain = trained.points("learning_rate", trained.segment().id)
    assert len(groups) == tiny.STEPS - step
    decayed, plain_group = groups[0]
    assert decayed["initial_lr"] == plain_group["initial_lr"] == 5e-4
    assert decayed["lr"] == plain_group["lr"] == pytest.approx(plain[step + 1] / 2, rel=1e-12)
    assert (decayed["weight_decay"], plain_group["weight_decay"]) == (0.3, 0.0)
    assert fork.effective is not None and fork.effective["verified"] is True
    assert fork.effective["step"] == step + 1
    assert fork.effective["lr_now"] == decayed["lr"]
    assert {name: fork.effective[name] for name in ALL} == {k: float(v) for k, v in ALL.items()}
    assert fork.effective["grad_norm"] <= 0.1 * 1.0001


def test_the_schedule_goes_on_from_where_it_is(trained: Home) -> None:
    launch, groups = resume(trained, EARLY, {"lr": 3e-3})
    plain = trained.points("learning_rate", trained.segment().id)
    assert [group[0]["lr"] for group in groups] == pytest.approx(
        [3 * plain[step] for step in range(5, tiny.STEPS + 1)], rel=1e-12
    )
    assert trained.points("learning_rate", launch.segment_id)[5] == groups[0][0]["lr"]


def test_the_node_records_what_was_replaced_and_what_was_restored(trained: Home) -> None:
    launch, _ = resume(trained, LATE, {"lr": 2e-3})
    fork = trained.fork(launch)
    assert [(c.name, c.before, c.after) for c in fork.changes] == [("lr", 1e-3, 2e-3)]
    assert fork.restored is not None and fork.restored.pop("lr") == "replaced"
    assert set(fork.restored.values()) == {"restored"}
    assert fork.state_digest == trained.node(LATE).state_digest
    assert trained.final(launch).settings["lr"] == 2e-3


def test_a_declared_change_holds_whatever_the_script_says(trained: Home) -> None:
    launch, groups = resume(trained, LATE, {"lr": 2e-3}, learning_rate=0.5)
    assert groups[0][0]["initial_lr"] == 2e-3
    fork = trained.fork(launch)
    assert fork.effective is not None and fork.effective["verified"] is True


def test_a_script_that_was_brought_to_what_the_node_has_agrees(trained: Home) -> None:
    first, _ = resume(trained, LATE, {"lr": 2e-3})
    launch = trained.order(trained.final(first), {"max_steps": 16, "horizon": "rescale"})
    trained.train(launch, **DECAYED, learning_rate=2e-3)
    assert trained.final(launch).step == 16


def test_a_resume_without_changes_says_what_it_used(trained: Home) -> None:
    launch, _ = resume(trained, LATE, {})
    fork = trained.fork(launch)
    assert fork.changes == () and fork.effective is not None
    assert fork.effective["verified"] is True and fork.effective["lr"] == 1e-3


def test_a_fork_node_that_is_resumed_has_its_changes(trained: Home) -> None:
    first, groups = resume(trained, LATE, {"lr": 4e-3, "weight_decay": 0.2, "max_grad_norm": 0.3})
    spy = Spy()
    launch = trained.order(trained.fork(first))
    trained.train(launch, callbacks=lambda: [spy], **DECAYED)
    assert spy.groups == groups
    assert trained.final(launch).state_digest == trained.final(first).state_digest
    second = trained.fork(launch)
    assert second.changes == () and second.settings["lr"] == 4e-3
    assert second.effective is not None and second.effective["verified"] is True


def test_a_fork_of_a_fork_changes_only_what_it_names(trained: Home) -> None:
    first, _ = resume(trained, LATE, {"lr": 4e-3, "max_grad_norm": 0.3})
    spy = Spy()
    launch = trained.order(trained.fork(first), {"lr": 1e-3})
    trained.train(launch, callbacks=lambda: [spy], **DECAYED)
    plain = trained.points("learning_rate", trained.segment().id)
    assert spy.rates[0] == [plain[LATE + 1]] * 2
    assert trained.fork(launch).settings["max_grad_norm"] == 0.3


def test_a_changed_rate_alone_leaves_the_state_what_it_is(trained: Home) -> None:
    """With no update in between nothing but settings differs, and these are no state."""
    launch = trained.order(trained.node(LATE), {"lr": 7e-3, "weight_decay": 0.0})
    assert trained.fork(launch).state_digest == trained.node(LATE).state_digest


def test_an_intervention_node_that_is_resumed_keeps_what_was_changed(home: Home) -> None:
    spy = Spy()
    at = At(4, lambda: home.ask("set", values={"lr": 2e-3, "max_grad_norm": 0.2}))
    how = {"max_steps": 8, "save_steps": 4}
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, callbacks=lambda: [spy, at], **how)
    at.trainer = trainer
    home.run(trainer)
    node = home.node(5)
    assert node.kind == "intervention"
    again = Spy()
    launch = home.order(node)
    home.train(launch, callbacks=lambda: [again], **how)
    assert again.groups == spy.groups[5:]
    assert home.final(launch).state_digest == home.final().state_digest
    assert home.fork(launch).settings["max_grad_norm"] == 0.2


def two_rates(model: torch.nn.Module) -> tuple[Any, Any]:
    """Groups with different rates and decays, and the Trainer's own scheduler."""
    names = [list(model.transformer.parameters()), []]
    names[1] = names[0][:2]
    names[0] = names[0][2:]
    groups = [{"params": names[0], "lr": 1e-3}, {"params": names[1], "lr": 1e-4, "weight_decay": 0}]
    return torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.1), None


def test_ratios_between_groups_are_kept(home: Home) -> None:
    how = {"optimizers": two_rates, "max_steps": 6, "save_steps": 4}
    home.train(**how)
    spy = Spy()
    launch = home.order(home.node(4), {"lr": 5e-3})
    home.train(launch, callbacks=lambda: [spy], **how)
    assert [group["initial_lr"] for group in spy.groups[0]] == [5e-3, pytest.approx(5e-4)]
    for first, second in spy.rates:
        assert second == pytest.approx(first / 10, rel=1e-12)
    assert [group["weight_decay"] for group in spy.groups[0]] == [0.1, 0]


def test_an_overwritten_rate_is_recorded_as_not_used(trained: Home) -> None:
    class Stubborn(tiny.BranchingTrainer):
        """Sets its own rate before each update."""

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            for group in self.optimizer.param_groups:
                group["lr"] = 1e-5
            return super().training_step(*args, **kwargs)

    launch = trained.order(trained.node(LATE), {"lr": 5e-3})
    trained.train(launch, Stubborn, **DECAYED)
    fork = trained.fork(launch)
    assert fork.effective is not None
    assert fork.effective["verified"] is False and fork.effective["lr_now"] == 1e-5


DISAGREEING: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "model size": ({"model": lambda: tiny.gpt(width=32)}, ("n_embd", "32", "16")),
    "batch size": ({"per_device_train_batch_size": 8}, ("batch_size", "8", "4")),
    "accumulation": ({"gradient_accumulation_steps": 2}, ("accumulation", "2", "1")),
    "seed": ({"seed": 7}, ("seed", "7", "42")),
    "data": ({"data": tiny.Sentences(20)}, ("dataset_length", "20", "24")),
    "optimizer": ({"optim": "sgd"}, ("sgd", "adamw")),
    "learning rate": (
        {"learning_rate": 0.5},
        ("0.5", "0.001", "--set lr=0.5"),
    ),
    "weight decay": ({"weight_decay": 0.3}, ("0.3", "0.1", "--set weight_decay=0.3")),
    "smoothing": (
        {"label_smoothing_factor": 0.1},
        ("0.1", "0.0", "--set label_smoothing_factor=0.1"),
    ),
    "cadence": ({"logging_steps": 3}, ("logging_steps", "3", "1", "--set logging_steps=3")),
    "horizon": ({"max_steps": 20}, ("max_steps", "20", "14")),
    "schedule": ({"lr_scheduler_type": "linear"}, ("lr_scheduler_type", "linear", "cosine")),
    "warm-up": ({"warmup_steps": 3}, ("warmup_steps", "3", "0")),
}


@pytest.mark.parametrize("what", some(DISAGREEING, "model size", "batch size", "learning rate"))
def test_a_script_that_disagrees_is_refused_and_the_way_out_works(trained: Home, what: str) -> None:
    how, words = DISAGREEING[what]
    spy, node = Spy(), trained.node(8)
    launch = trained.order(node)
    with pytest.raises(CheckpointMismatch) as caught:
        trained.train(launch, callbacks=lambda: [spy], **{**DECAYED, **how})
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert spy.groups == []
    assert trained.segment(launch.branch_id).started_at is None
    way = way_out(caught.value)
    again = trained.order(node, way["settings"], mode=way["mode"])
    trained.train(again, **{**DECAYED, **how})
    assert (trained.final(again).kind, trained.final(again).step > 8) == ("final", True)
