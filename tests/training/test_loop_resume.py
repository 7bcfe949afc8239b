"""What a resume may change of a plain loop, each obeyed from the first update on, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

import branchtrack
from branchtrack.core.records import Launch
from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training.loop import Run
from tests.training import loops
from tests.training.homes import Home
from tests.training.loop_scripts import gan

AT = 4
Groups = list[list[dict[str, Any]]]


def adamw(model: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)


def cosine(optimizer: Any) -> Any:
    return schedulers.CosineAnnealingLR(optimizer, loops.STEPS)


def settings() -> dict[str, Any]:
    return {"smoothing": branchtrack.setting(0.1, minimum=0.0, maximum=0.5), "unread": 3}


HOW: dict[str, Any] = {"optimizer": adamw, "scheduler": cosine}


def reads(run: Run, optimizer: Any) -> None:
    """What a loop does with a setting of its author's."""
    assert 0 <= run.settings["smoothing"] <= 0.5


@pytest.fixture(scope="module")
def trained(shared_home: Home) -> Home:
    """A home in which ``tiny/main`` has been trained, with a node at every step."""
    loops.train(shared_home, settings=settings(), at=reads, **HOW)
    return shared_home


def resume(
    home: Home, changes: dict[str, Any], step: int = AT, mode: str = "exact", **how: Any
) -> tuple[Launch, Groups, Run]:
    """Resume a node of ``tiny/main`` with changes; the groups that every update used."""
    used: Groups = []

    def spied(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def made(model: Any) -> Any:
            optimizer = make(model)
            optimizer.register_step_pre_hook(
                lambda o, *_: used.append([{**group, "params": 0} for group in o.param_groups])
            )
            return optimizer

        return made

    launch = home.order(home.node(step), changes, mode=mode)
    given = {**HOW, "settings": settings(), "at": reads, **how}
    given["optimizer"] = spied(given["optimizer"])
    return launch, used, loops.train(home, launch, **given)


def obeyed(home: Home, launch: Launch) -> dict[str, Any]:
    """What was read back at the first update of a launch, which obeyed."""
    effective = home.fork(launch).effective
    assert effective is not None and effective["verified"] is True, effective
    return effective


def rates(make: Callable[[Any], Any], lr: float, steps: int) -> list[float]:
    """The rates that a schedule has for its first updates."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule, found = make(optimizer), []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


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


def nothing(run: Run, optimizer: Any) -> None:
    """At no control point anything is to be done."""


def test_dropout_and_freezing_are_obeyed(trained: Home) -> None:
    launch, _, run = resume(trained, {"dropout": 0.5, "frozen": "0"})
    effective = obeyed(trained, launch)
    assert (effective["dropout"], effective["frozen"]) == (0.5, "0")
    assert run._live.model[3].p == 0.5  # type: ignore[index, union-attr]
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


@pytest.mark.parametrize(
    "make",
    [
        lambda o: schedulers.CosineAnnealingLR(o, 20),
        lambda o: schedulers.LinearLR(o, 1.0, 0.0, total_iters=12),
        lambda o: schedulers.LambdaLR(o, lambda step: min(1.0, (step + 1) / 6)),
        lambda o: schedulers.SequentialLR(
            o, [schedulers.ConstantLR(o, 0.1, 2), schedulers.ExponentialLR(o, 0.8)], [2]
        ),
    ],
    ids=["length", "shape", "warm-up", "several"],
)
def test_the_scripts_schedule_takes_its_place_at_the_nodes_step(trained: Home, make: Any) -> None:
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
    expected = rates(lambda o: schedulers.OneCycleLR(o, 0.01, total_steps=20, cycle_momentum=False),
                     0.01, loops.STEPS)[AT:]  # fmt: skip
    assert [g[0]["lr"] for g in used] == pytest.approx(expected, rel=1e-9)
    assert obeyed(trained, launch)


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


@pytest.mark.parametrize("kind", [loops.Points, loops.Flow])
@pytest.mark.parametrize("size", [2, 3, 8, 26])
def test_each_sample_of_the_epoch_is_used_once(kind: Any, size: int, home: Home) -> None:
    used: list[list[int]] = [[], []]

    class Kept(kind):  # type: ignore[misc]
        """Says which sample it is."""

    def data() -> Any:
        made = loops.loader("random", kind())
        inner = made.dataset.points if kind is loops.Flow else made.dataset
        read.append(inner.read)
        return made

    read: list[list[int]] = []
    loops.train(home, data=data, max_steps=3)
    launch = home.order(home.node(3), {"batch_size": size, "max_steps": 60})
    run = loops.train(home, launch, data=data, max_steps=3)
    used = [read[0][:12], read[1]]
    skipped = 12 if kind is loops.Flow else 0
    rest = used[1][skipped : skipped + loops.SAMPLES - 12]
    assert sorted(used[0] + rest) == list(range(loops.SAMPLES))
    following = used[1][skipped + loops.SAMPLES - 12 :][: loops.SAMPLES]
    assert sorted(following) == list(range(loops.SAMPLES)), "the next epoch is whole"
    assert obeyed(home, launch)["batch_size"] == size and run.step_number == 60
    again = home.order(next(n for n in home.nodes(launch.branch_id) if n.step == 5))
    loops.train(home, again, data=data, max_steps=3)
    assert home.final(again).state_digest == home.final(launch).state_digest


def test_another_seed_keeps_the_rest_of_the_epoch(home: Home) -> None:
    read: list[list[int]] = []

    def data() -> Any:
        made = loops.loader()
        read.append(made.dataset.read)
        return made

    loops.train(home, data=data, max_steps=16)
    launch = home.order(home.node(3), {"seed": 7})
    loops.train(home, launch, data=data, max_steps=16)
    assert read[1][:14] == read[0][12:26] and read[1][14:40] != read[0][26:52]
    assert sorted(read[1][14:40]) == sorted(read[0][26:52])
    assert obeyed(home, launch)["seed"] == 7
    assert home.final(launch).state_digest != home.final().state_digest


def test_of_several_optimizers_each_has_its_settings(home: Home) -> None:
    gan(home)
    launch = home.order(home.node(4), {"maker.lr": 0.002, "judge.betas": "0.4, 0.8"})
    run = gan(home, launch)
    effective = obeyed(home, launch)
    assert (effective["maker.lr"], effective["judge.betas"]) == (0.002, [0.4, 0.8])
    groups = {name: one.param_groups[0] for name, one in run._live.optimizer.items()}
    assert groups["maker"]["lr"] == 0.002 and groups["judge"]["betas"] == (0.4, 0.8)


def test_an_optimizer_that_waits_is_waited_for(home: Home) -> None:
    gan(home, every=4)
    launch = home.order(home.node(4), {"maker.lr": 0.002})
    gan(home, launch, every=4)
    assert obeyed(home, launch)["maker.lr"] == 0.002 and obeyed(home, launch)["step"] == 8


def test_of_weights_alone_everything_else_is_fresh(trained: Home) -> None:
    launch, used, run = resume(
        trained, {"lr": 0.5}, mode="weights", optimizer=loops.sgd, scheduler=None, settings={},
        at=nothing, data=lambda: loops.loader("sequential"), seed=9,
    )  # fmt: skip
    assert used[0][0]["lr"] == 0.5 and used[0][0]["momentum"] == 0.9
    made = trained.nodes(launch.branch_id)
    assert (made[1].step, made[-1].step) == (AT, AT + loops.STEPS) and run.epoch == 1
    fresh = trained.snapshot(made[1])
    theirs = trained.snapshot(trained.node(AT)).tensors
    assert not [name for name in fresh.tensors if name.startswith("optimizer/")]
    assert all(torch.equal(t, theirs[n]) for n, t in fresh.tensors.items() if n[:6] == "model/")
    assert obeyed(trained, launch)["lr"] == 0.5
    assert trained.fork(launch).restored["weights"] == "restored"  # type: ignore[index]
    assert trained.fork(launch).restored["optimizer"] == "reset"  # type: ignore[index]


def without_dropout() -> Any:
    return loops.net(0.0)


DIFFERENT: dict[str, tuple[dict[str, Any], str, tuple[str, str], str]] = {
    "rate": ({"optimizer": lambda m: torch.optim.AdamW(m.parameters(), 0.02, weight_decay=0.1)},
             "lr", ("0.02", "0.01"), "--set lr=0.02"),
    "betas": ({"optimizer": lambda m: torch.optim.AdamW(m.parameters(), 0.01, (0.8, 0.9),
                                                        weight_decay=0.1)},
              "betas", ("[0.8, 0.9]", "[0.9, 0.999]"), "--set betas=NEW"),
    "amsgrad": ({"optimizer": lambda m: torch.optim.AdamW(m.parameters(), 0.01, amsgrad=True,
                                                          weight_decay=0.1)},
                "amsgrad", ("True", "False"), "--mode weights"),
    "optimizer": ({"optimizer": lambda m: torch.optim.Adam(m.parameters(), 0.01,
                                                           weight_decay=0.1)},
                  "optimizer", ("'Adam'", "'AdamW'"), "--mode weights"),
    "schedule": ({"scheduler": lambda o: schedulers.CosineAnnealingLR(o, 50)},
                 "scheduler.T_max", ("50", str(loops.STEPS)), "--set scheduler=script"),
    "no schedule": ({"scheduler": None}, "scheduler", ("None", "'CosineAnnealingLR'"),
                    "--set scheduler=script"),
    "batch size": ({"data": lambda: loops.loader(batch_size=8)},
                   "batch_size", ("8", "4"), "--set batch_size=8"),
    "order": ({"data": lambda: loops.loader("sequential")},
              "sampler", ("'SequentialSampler'", "'RandomSampler'"), "--mode weights"),
    "data": ({"data": lambda: loops.loader("random", loops.Points("nothing", 30))},
             "dataset_length", ("30", "26"), "--mode weights"),
    "workers": ({"data": lambda: loops.loader(num_workers=1)}, "num_workers", ("1", "0"),
                "--mode weights"),
    "length": ({"max_steps": 20}, "max_steps", ("20", str(loops.STEPS)), "--set max_steps=NEW"),
    "seed": ({"seed": 6}, "seed", ("6", "5"), "--set seed=6"),
    "cadence": ({"save_steps": 3}, "save_steps", ("3", "1"), "--set save_steps=3"),
    "dropout": ({"model": without_dropout}, "dropout", ("0.0", "0.2"), "--set dropout=0.0"),
    "a setting": ({"settings": {"smoothing": 0.2, "unread": 3}}, "settings.smoothing",
                  ("0.2", "0.1"), "--set smoothing=0.2"),
    "a new setting": ({"settings": {**settings(), "more": 1}}, "settings.more", ("1", "None"),
                      "--mode weights"),
    "objects": ({"objects": {"net": torch.nn.Linear(1, 1)}}, "objects", ("['net']", "[]"),
                "--mode weights"),
}  # fmt: skip


@pytest.mark.parametrize("what", DIFFERENT)
def test_an_undeclared_difference_is_refused_with_both_values(what: str, trained: Home) -> None:
    how, field, (mine, theirs), way = DIFFERENT[what]
    with pytest.raises(CheckpointMismatch) as caught:
        resume(trained, {}, **how)
    words = str(caught.value)
    assert f"{field} is {mine} in the script and was {theirs}" in words
    assert way in words and f"Put {field} back to {theirs}" in words


def test_functions_of_the_step_are_told_apart(home: Home) -> None:
    loops.train(home, scheduler=lambda o: schedulers.LambdaLR(o, lambda step: 0.9**step))
    launch = home.order(home.node(AT))
    with pytest.raises(CheckpointMismatch, match="scheduler.lr_lambda"):
        loops.train(
            home, launch, scheduler=lambda o: schedulers.LambdaLR(o, lambda step: 0.8**step)
        )


def test_a_script_that_says_what_the_node_has_is_let_through(trained: Home) -> None:
    launch, _, _ = resume(trained, {"lr": 0.02, "smoothing": 0.4})
    node = trained.nodes(launch.branch_id)[2]
    again = trained.order(node)
    how: dict[str, Any] = {
        "optimizer": lambda m: torch.optim.AdamW(m.parameters(), 0.02, weight_decay=0.1)
    }
    how["settings"] = {"smoothing": branchtrack.setting(0.4, maximum=0.5), "unread": 3}
    loops.train(trained, again, scheduler=cosine, at=reads, **how)
    assert trained.final(again).state_digest == trained.final(launch).state_digest


def test_a_model_of_another_shape_is_refused(trained: Home) -> None:
    def wider() -> torch.nn.Module:
        made = loops.net()
        made[0] = torch.nn.Linear(6, 8, bias=False)  # type: ignore[operator]
        return made

    with pytest.raises(CheckpointMismatch, match="The model's tensors"):
        resume(trained, {}, model=wider)
