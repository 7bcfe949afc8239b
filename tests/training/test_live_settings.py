"""A Trainer's loop whose settings change while it trains: obeyed, kept, and resumed exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Trainer

import branchtrack
from branchtrack import make_branching
from branchtrack.core.builtin_settings import declared
from branchtrack.core.capabilities import Capabilities
from branchtrack.core.interventions import SetSettings
from branchtrack.errors import InvalidInput
from tests.matrices import some
from tests.training import matrix, tiny
from tests.training.callbacks import At, Spy
from tests.training.homes import Home

#: What changes at step 5, what the script asks for beside, and the step at which it then ends.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "kind": ({"lr_scheduler_type": "linear"}, {}, 10),
    "restart": (
        {"lr_scheduler_type": "linear", "schedule_from": "restart", "warmup_steps": 2},
        {},
        10,
    ),
    "hold": ({"lr_scheduler_type": "constant", "schedule_from": "hold"}, {}, 10),
    "hold and decay": ({"schedule_from": "hold", "lr": 3e-3}, {"warmup_steps": 2}, 10),
    "plateau": (
        {
            "lr_scheduler_type": "reduce_lr_on_plateau",
            "schedule_from": "hold",
            "lr_scheduler_kwargs": "patience=0",
        },
        {"eval_strategy": "steps", "eval_steps": 2},
        10,
    ),
    "longer": ({"max_steps": 15, "horizon": "extend"}, {}, 15),
    "shorter": ({"max_steps": 7, "horizon": "rescale"}, {}, 7),
    "more batches": ({"gradient_accumulation_steps": 3}, {}, 10),
    "fewer batches": ({"gradient_accumulation_steps": 1}, {"gradient_accumulation_steps": 4}, 10),
    "by length": (
        {"gradient_accumulation_steps": 2},
        {
            "train_sampling_strategy": "group_by_length",
            "collator": matrix.padded,
            "data": matrix.Items(matrix.SAMPLES, "nothing"),
        },
        10,
    ),
    "smoothing": ({"label_smoothing_factor": 0.3}, {}, 10),
    "no smoothing": ({"label_smoothing_factor": 0.0}, {"label_smoothing_factor": 0.2}, 10),
    "cadence": ({"logging_steps": 3, "save_steps": 2}, {}, 10),
    "details": ({"model.transformer.drop.p": 0.4, "group1.lr": 5e-4}, {"weight_decay": 0.1}, 10),
}


def steer(home: Home, values: dict[str, Any], kind: Any = tiny.BranchingTrainer, **how: Any) -> Any:
    """Train with a change asked for before update 5, applied behind it; returns the request."""
    asked: list[Any] = []
    at = At(4, lambda: asked.append(home.ask("set", values=values)))
    own = how.pop("callbacks", list)
    trainer = tiny.trainer(kind, home.folder, callbacks=lambda: [at, *own()], **how)
    at.trainer = trainer
    if kind is BranchingWeighted:
        declare(trainer)
    home.run(trainer)
    return home.request(asked[0].id)


def script(**how: Any) -> dict[str, Any]:
    return {"max_steps": 10, "save_steps": 3, **how}


@pytest.fixture(scope="module")
def plain(shared_home: Home) -> Home:
    """A home in which ``plain/main`` has been trained undisturbed, with a node at step 5."""
    shared_home.train(run_name="plain", **script(save_steps=5))
    return shared_home


@pytest.mark.parametrize("name", some(CHANGES, "restart", "more batches", "smoothing"))
def test_a_change_is_obeyed_and_resumed_exactly(name: str, home: Home) -> None:
    values, more, last = CHANGES[name]
    how = script(**more)
    request = steer(home, values, **how)
    assert request.state == "verified", (request.state, request.error, request.effective)
    final = home.final()
    assert final.step == last
    nodes = {node.step: node for node in home.nodes()}
    node = nodes[5]
    assert node.kind == "intervention"
    assert {change.name for change in node.changes} >= values.keys() - {"schedule_from", "horizon"}
    assert home.rehearse(nodes[3], final, **how).difference is None
    for step in (5, 6):
        if step in nodes:
            launch = home.order(nodes[step])
            home.train(launch, **how)
            assert home.final(launch).state_digest == final.state_digest, step
            effective = home.fork(launch).effective
            assert effective is not None and effective["verified"] is True, effective


def test_rates_go_on_without_a_jump_where_they_are_held(home: Home) -> None:
    spy = Spy()
    values = {"lr_scheduler_type": "constant", "schedule_from": "hold"}
    steer(home, values, callbacks=lambda: [spy], **script())
    rates = [groups[0] for groups in spy.rates]
    plain = [groups[0]["lr"] for groups in spy.groups]
    assert rates == plain and rates[5:] == [pytest.approx(rates[5], rel=1e-12)] * 5
    assert rates[4] > rates[5] == pytest.approx(1e-3 * (1 + torch.tensor(torch.pi / 2).cos()) / 2)
    assert "schedule" in {change.name for change in home.node(5).changes}


WORDS: list[dict[str, Any]] = [
    {"lr_scheduler_type": "linear", "schedule_from": "restart", "warmup_steps": 2},
    {"lr_scheduler_type": "constant", "schedule_from": "hold"},
    {"schedule_from": "restart"},
    {"max_steps": 12, "schedule_from": "hold"},
]


@pytest.mark.parametrize("values", some(WORDS, WORDS[0], WORDS[3]), ids=str)
def test_a_resume_says_the_same_in_the_same_words(
    values: dict[str, Any], home: Home, plain: Home
) -> None:
    steer(home, values, **script())
    live = home.final()
    launch = plain.order(plain.node(5, "plain/main"), values)
    plain.train(launch, run_name="plain", **script(save_steps=5))
    assert plain.final(launch).state_digest == live.state_digest


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"max_steps": 4, "horizon": "extend"}, "greater than"),
    ({"max_steps": 20}, "horizon"),
    ({"warmup_steps": 12}, "warm-up"),
    ({"lr": 2e-3, "lr_scheduler_type": "cosine_with_min_lr"}, "needs min_lr"),
    ({"schedule_from": "restart", "max_steps": 12, "horizon": "extend"}, "horizon has no effect"),
    ({"lr": 2e-3, "lr_scheduler_type": "reduce_lr_on_plateau"}, "does not evaluate"),
    ({"lr": 2e-3, "group0.lr": 3e-3, "dropout": 0.1}, "becomes"),
]


def test_what_does_not_fit_changes_nothing(
    home: Home, plain: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the door sees of it is refused there already; the process looks again.
    monkeypatch.setattr("branchtrack.control.request_checks.check_length", lambda *_: None)

    def ask_all() -> None:
        for values, _ in MISFITS:
            home.ask("set", values=values)

    at = At(4, ask_all, len(MISFITS))
    trainer = tiny.trainer(
        tiny.BranchingTrainer, home.folder, callbacks=lambda: [at], **script(save_steps=5)
    )
    at.trainer = trainer
    home.run(trainer)
    for request, (_, words) in zip(home.requests(), MISFITS, strict=True):
        assert request.state == "failed" and words in str(request.error), request.error
    undisturbed = plain.final_of("plain")
    assert home.final().settings == undisturbed.settings
    assert home.final().state_digest == undisturbed.state_digest


@pytest.mark.parametrize("name", ["batch_size", "seed"])
def test_what_a_resume_alone_can_change_is_refused_in_such_words(name: str, home: Home) -> None:
    home.train(**script(max_steps=1))
    with pytest.raises(InvalidInput, match="not while it trains") as caught:
        SetSettings(values={name: 3}).validated(declared(home.segment().declared), Capabilities())
    assert caught.value.field == name and "resume" in str(caught.value)


class Weighted(Trainer):
    """A loss with a weight that is declared, and one that nobody reads."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        weights = self.settings["weights"]
        return loss * (self.settings["aux"] + weights[1])


BranchingWeighted = make_branching(Weighted)


def declare(trainer: Any) -> Any:
    trainer.declare(
        aux=branchtrack.setting(0.3, minimum=0),
        weights=branchtrack.setting([1.0, 2.0], minimum=0),
        idle=1.0,
    )
    return trainer


def weighted(home: Home, launch: Any = None) -> None:
    home.run(declare(tiny.trainer(BranchingWeighted, home.folder, **script())), launch)


def test_a_declared_value_is_obeyed_kept_and_resumed(home: Home) -> None:
    values = {"aux": 0.5, "weights": "0.5, 3"}
    assert steer(home, values, BranchingWeighted, **script()).state == "verified"
    final = home.final()
    assert final.settings["weights"] == [0.5, 3.0] and home.node(5).settings["aux"] == 0.5
    root = home.node(0)
    assert root.effective is not None and root.effective["verified"] is True
    for step in (5, 6):
        launch = home.order(home.node(step))
        weighted(home, launch)
        assert home.final(launch).state_digest == final.state_digest


def test_a_declared_value_that_nothing_reads_is_not_in_force(home: Home) -> None:
    assert steer(home, {"idle": 0.5}, BranchingWeighted, **script()).state == "ineffective"


class Deaf(Trainer):
    """A loss of its own, which the Trainer's label smoother has no part in."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return model(**inputs)["loss"]


def test_smoothing_that_the_loss_does_not_use_is_not_in_force(home: Home) -> None:
    values, how = {"label_smoothing_factor": 0.3}, script(label_smoothing_factor=0.1)
    request = steer(home, values, make_branching(Deaf), **how)
    root = home.node(0)
    # Nobody has changed it yet: there is nothing to say of it.
    assert root.effective is not None and root.effective["verified"] is True
    assert request.state == "ineffective"


def test_details_can_be_set_but_nodes_do_not_list_them(home: Home) -> None:
    values = {"model.transformer.drop.p": 0.4}
    how = script(weight_decay=0.1, save_steps=4)
    home.train(**how)
    known = declared(home.segment().declared)
    assert known["group1.lr"].detail and not known["lr"].detail
    launch = home.order(home.node(4), {**values, "group0.lr": 5e-3})
    spy = Spy()
    home.train(launch, callbacks=lambda: [spy], **how)
    fork = home.fork(launch)
    assert fork.effective is not None and fork.effective["verified"] is True
    assert fork.effective["group0.lr"] == 5e-3 and "group1.lr" not in fork.effective
    assert [group["initial_lr"] for group in spy.groups[0]] == [5e-3, 1e-3]
    final = home.final(launch)
    assert final.settings["lr"] == 5e-3 and not values.keys() & final.settings.keys()
    assert final.settings["dropout"] == 0.4
