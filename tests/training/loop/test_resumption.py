"""What a resume may change of a plain loop, each obeyed from the first update on, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from branchtrack.errors import CheckpointMismatch, InvalidInput
from tests.matrices import some
from tests.training import loops
from tests.training.homes import Home
from tests.training.loop_changes import (
    AT,
    HOW,
    adamw,
    cosine,
    nothing,
    obeyed,
    rates,
    reads,
    resume,
    settings,
)
from tests.training.loop_scripts import gan


@pytest.fixture(scope="module")
def trained(shared_home: Home) -> Home:
    """A home in which ``tiny/main`` has been trained, with a node at every step."""
    loops.train(shared_home, settings=settings(), at=reads, **HOW)
    return shared_home


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"weight_decay": 0.3}, "weight_decay", 0.3),
        ({"betas": "0.8, 0.95"}, "betas", (0.8, 0.95)),
        ({"eps": 1e-6}, "eps", 1e-6),
    ],
)
def test_the_optimizer_obeys(trained: Home, change: dict[str, Any], field: str, value: Any) -> None:
    launch, used, _ = resume(trained, change)
    assert [groups[0][field] for groups in used] == [value] * (loops.STEPS - AT)
    assert obeyed(trained, launch)


def test_another_rate_goes_on_along_the_schedule(trained: Home) -> None:
    launch, used, _ = resume(trained, {"lr": 0.03})
    expected = rates(cosine, 0.03, loops.STEPS)[AT:]
    assert [groups[0]["lr"] for groups in used] == pytest.approx(expected, rel=1e-9)
    assert obeyed(trained, launch)["lr"] == 0.03


def test_momentum_is_obeyed(home: Home) -> None:
    loops.train(home)
    launch, used, _ = resume(
        home, {"momentum": 0.5}, optimizer=loops.sgd, scheduler=None, settings={}, at=nothing
    )
    assert used[0][0]["momentum"] == 0.5 and obeyed(home, launch)["momentum"] == 0.5


def test_dropout_and_freezing_are_obeyed(trained: Home) -> None:
    launch, _, run = resume(trained, {"dropout": 0.5, "frozen": "0"})
    effective = obeyed(trained, launch)
    assert (effective["dropout"], effective["frozen"]) == (0.5, "0")
    assert run._live.model[3].p == 0.5
    before, after = trained.snapshot(trained.node(AT)), trained.snapshot(trained.final(launch))
    assert torch.equal(before.tensors["model/0.weight"], after.tensors["model/0.weight"])
    assert not torch.equal(before.tensors["model/4.weight"], after.tensors["model/4.weight"])


def test_a_setting_of_the_authors_is_what_the_loop_reads(trained: Home) -> None:
    seen: list[float] = []
    launch, _, run = resume(
        trained, {"smoothing": 0.3}, at=lambda run, _: seen.append(run.settings["smoothing"])
    )
    assert seen == [0.3] * (loops.STEPS - AT) and obeyed(trained, launch)["smoothing"] == 0.3
    assert dict(run.settings) == {"smoothing": 0.3, "unread": 3}


def test_a_changed_setting_that_the_loop_does_not_read_is_not_called_verified(
    trained: Home,
) -> None:
    launch, _, _ = resume(trained, {"unread": 4, "lr": 0.02})
    effective = trained.fork(launch).effective
    assert effective is not None and effective["verified"] is False
    assert effective["lr"] == 0.02 and "unread" not in effective


def test_a_longer_training_needs_no_horizon(trained: Home) -> None:
    launch, used, run = resume(trained, {"max_steps": 12})
    assert trained.final(launch).step == run.max_steps == 12 and len(used) == 12 - AT
    assert obeyed(trained, launch)["max_steps"] == 12
    with pytest.raises(InvalidInput, match="horizon"):
        trained.order(trained.node(AT), {"max_steps": 12, "horizon": "extend"})


def test_a_finished_branch_can_be_trained_further(trained: Home) -> None:
    launch, _, _ = resume(trained, {"max_steps": 11}, step=loops.STEPS)
    assert trained.final(launch).step == 11


def test_nodes_are_made_as_often_as_declared(trained: Home) -> None:
    launch, _, _ = resume(trained, {"save_steps": 2})
    assert [n.step for n in trained.nodes(launch.branch_id)] == [4, 6, 8, 9]


class OneCycle:
    """Kept apart, as both its name and its length differ."""

    def __new__(cls, optimizer: Any) -> Any:
        """The schedule itself."""
        return schedulers.OneCycleLR(optimizer, 0.01, total_steps=20)


SCHEDULES: dict[str, Any] = {
    "length": lambda o: schedulers.CosineAnnealingLR(o, 20),
    "shape": lambda o: schedulers.LinearLR(o, 1.0, 0.0, total_iters=12),
    "warm-up": lambda o: schedulers.LambdaLR(o, lambda step: min(1.0, (step + 1) / 6)),
    "several": lambda o: schedulers.SequentialLR(
        o, [schedulers.ConstantLR(o, 0.1, 2), schedulers.ExponentialLR(o, 0.8)], [2]
    ),
}


@pytest.mark.parametrize("kind", some(SCHEDULES, "length", "several"))
def test_the_scripts_schedule_takes_its_place_at_the_nodes_step(trained: Home, kind: str) -> None:
    make = SCHEDULES[kind]
    with pytest.raises(CheckpointMismatch, match="scheduler=script"):
        resume(trained, {}, scheduler=make)
    launch, used, _ = resume(trained, {"scheduler": "script"}, scheduler=make)
    expected = rates(make, 0.01, loops.STEPS)[AT:]
    assert [groups[0]["lr"] for groups in used] == pytest.approx(expected, rel=1e-9)
    assert obeyed(trained, launch)
    node = trained.nodes(launch.branch_id)[3]
    again = trained.order(node)
    loops.train(trained, again, **{**HOW, "scheduler": make}, settings=settings(), at=reads)
    assert trained.final(again).state_digest == trained.final(launch).state_digest


def test_a_schedule_that_cycles_momentum_can_take_the_place_of_another(trained: Home) -> None:
    launch, used, _ = resume(trained, {"scheduler": "script"}, scheduler=OneCycle)
    assert used[0][0]["betas"][0] != 0.9 and "max_momentum" in used[0][0]
    expected = rates(
        lambda o: schedulers.OneCycleLR(o, 0.01, total_steps=20, cycle_momentum=False),
        0.01,
        loops.STEPS,
    )[AT:]
    assert [g[0]["lr"] for g in used] == pytest.approx(expected, rel=1e-9)
    assert obeyed(trained, launch)


def test_momentum_of_a_cycle_that_takes_the_place_of_another_is_the_scripts(home: Home) -> None:
    def cycle(most: float) -> Any:
        return lambda o: schedulers.OneCycleLR(o, 0.01, total_steps=20, max_momentum=most)

    loops.train(home, scheduler=cycle(0.9), settings=settings(), at=reads, optimizer=adamw)
    launch, used, _ = resume(home, {"scheduler": "script"}, scheduler=cycle(0.95))
    assert used[0][0]["max_momentum"] == 0.95 == obeyed(home, launch)["betas"][0]


@pytest.mark.parametrize(
    ("optimizer", "name", "value"),
    [(loops.sgd, "momentum", 0.3), (adamw, "betas", [0.3, 0.95])],
    ids=["momentum", "betas"],
)
def test_momentum_that_the_schedule_cycles_is_obeyed_as_the_most_of_the_cycle(
    home: Home, optimizer: Any, name: str, value: Any
) -> None:
    how = {"optimizer": optimizer, "scheduler": OneCycle}
    loops.train(home, settings=settings(), at=reads, **how)
    launch, used, _ = resume(home, {name: value}, **how)
    first = used[0][0]
    assert first["max_momentum"] == 0.3 and first["base_momentum"] == pytest.approx(0.3 * 85 / 95)
    effective = obeyed(home, launch)
    assert effective[name] == value and home.fork(launch).settings[name] == value
    now = list(first["betas"]) if name == "betas" else first["momentum"]
    assert effective[f"{name}_now"] == now != value
    most = [groups[0]["betas"][0] if name == "betas" else groups[0]["momentum"] for groups in used]
    untouched = loops.STEPS - AT
    assert len(most) == untouched and max(most) < 0.3


def test_a_schedule_and_a_rate_can_be_declared_together(trained: Home) -> None:
    make = schedulers.ExponentialLR
    launch, used, _ = resume(
        trained, {"scheduler": "script", "lr": 0.04}, scheduler=lambda o: make(o, 0.9)
    )
    expected = rates(lambda o: make(o, 0.9), 0.04, loops.STEPS)[AT:]
    assert [groups[0]["lr"] for groups in used] == pytest.approx(expected, rel=1e-9)
    assert obeyed(trained, launch)["lr"] == 0.04


def test_a_schedule_can_be_left_out_or_brought_in(trained: Home) -> None:
    launch, used, _ = resume(trained, {"scheduler": "script"}, scheduler=None)
    assert [groups[0]["lr"] for groups in used] == [0.01] * (loops.STEPS - AT)
    assert obeyed(trained, launch)


def test_a_schedule_that_is_too_short_is_refused(trained: Home) -> None:
    short = {"scheduler": lambda o: schedulers.OneCycleLR(o, 0.01, total_steps=3)}
    with pytest.raises(InvalidInput, match="cannot be brought to step 4"):
        resume(trained, {"scheduler": "script"}, **short)


def test_an_end_behind_that_of_the_schedule_is_refused_before_any_training(home: Home) -> None:
    how = {"optimizer": adamw}
    short = {**how, "scheduler": lambda o: schedulers.OneCycleLR(o, 0.01, total_steps=10)}
    loops.train(home, settings=settings(), at=reads, **short)
    for declared in ({}, {"scheduler": "script"}):
        launch = home.order(home.node(AT), {"max_steps": 12, **declared})
        with pytest.raises(InvalidInput, match="ends at step 10") as caught:
            loops.train(home, launch, settings=settings(), at=reads, **short)
        assert "schedule in the script" in str(caught.value)
        assert home.segment(launch.branch_id).started_at is None
    launch, _, _ = resume(home, {"max_steps": 10}, **short)
    assert home.final(launch).step == 10
    launch, used, _ = resume(
        home,
        {"max_steps": 12, "scheduler": "script"},
        scheduler=lambda o: schedulers.OneCycleLR(o, 0.01, total_steps=12),
        **how,
    )
    assert home.final(launch).step == 12 and len(used) == 12 - AT


def test_of_several_optimizers_each_has_its_settings(home: Home) -> None:
    gan(home, max_steps=6)
    launch = home.order(home.node(4), {"maker.lr": 0.002, "judge.betas": "0.4, 0.8"})
    run = gan(home, launch, max_steps=6)
    effective = obeyed(home, launch)
    assert (effective["maker.lr"], effective["judge.betas"]) == (0.002, [0.4, 0.8])
    groups = {name: one.param_groups[0] for name, one in run._live.optimizer.items()}
    assert groups["maker"]["lr"] == 0.002 and groups["judge"]["betas"] == (0.4, 0.8)


def test_an_optimizer_that_waits_is_waited_for(home: Home) -> None:
    gan(home, every=4, max_steps=9)
    launch = home.order(home.node(4), {"maker.lr": 0.002})
    gan(home, launch, every=4, max_steps=9)
    assert obeyed(home, launch)["maker.lr"] == 0.002 and obeyed(home, launch)["step"] == 8


def test_of_weights_alone_everything_else_is_fresh(trained: Home) -> None:
    launch, used, run = resume(
        trained,
        {"lr": 0.5},
        mode="weights",
        optimizer=loops.sgd,
        scheduler=None,
        settings={},
        at=nothing,
        data=lambda: loops.loader("sequential"),
        seed=9,
    )
    assert used[0][0]["lr"] == 0.5 and used[0][0]["momentum"] == 0.9
    made = trained.nodes(launch.branch_id)
    assert (made[1].step, made[-1].step) == (AT, AT + loops.STEPS) and run.epoch == 1
    fresh = trained.snapshot(made[1])
    theirs = trained.snapshot(trained.node(AT)).tensors
    assert not [name for name in fresh.tensors if name.startswith("optimizer/")]
    assert all(torch.equal(t, theirs[n]) for n, t in fresh.tensors.items() if n[:6] == "model/")
    assert obeyed(trained, launch)["lr"] == 0.5
    assert trained.fork(launch).restored["weights"] == "restored"
    assert trained.fork(launch).restored["optimizer"] == "reset"
