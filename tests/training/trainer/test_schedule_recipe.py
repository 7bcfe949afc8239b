"""Every schedule of transformers: exact as the script's own, obeyed as a declared change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import get_scheduler

from branchtrack.core import schedules
from branchtrack.core.records import Launch, Node
from branchtrack.errors import CheckpointMismatch, InvalidInput, NotFound
from tests.matrices import some
from tests.training import exact
from tests.training.callbacks import Spy
from tests.training.homes import Home

STEPS, AT, WARM_UP = 10, 4, 2
KWARGS: dict[str, dict[str, Any]] = {
    "cosine": {"num_cycles": 1.5},
    "cosine_with_restarts": {"num_cycles": 3},
    "polynomial": {"power": 2.0, "lr_end": 1e-5},
    "inverse_sqrt": {"timescale": 5},
    "cosine_with_min_lr": {"min_lr": 1e-4},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1, "warmup_lr_rate": 0.2},
    "warmup_stable_decay": {"num_decay_steps": 4, "decay_type": "1-sqrt"},
    "reduce_lr_on_plateau": {"patience": 0, "threshold": 10.0, "factor": 0.5},
    "greedy": {
        "patience": 1,
        "min_lr": 1e-5,
        "max_lr": 0.1,
        "factor": 0.8,
        "smooth": True,
        "window_size": 3,
        "reset_start": 2,
    },
}
OTHERS: dict[str, dict[str, Any]] = {
    "cosine": {"num_cycles": 2},
    "polynomial": {"power": 3.0},
    "cosine_with_min_lr": {"min_lr": 5e-4},
    "warmup_stable_decay": {"num_decay_steps": 6},
}
EVALUATED: dict[str, Any] = {
    "eval_strategy": "steps",
    "eval_steps": 1,
    "metric_for_best_model": "eval_loss",
}
FIXED = [kind for kind in schedules.ARGUMENTS if kind not in schedules.WATCHING]


def script(kind: str) -> dict[str, Any]:
    """A script with a schedule; it evaluates where the schedule follows that."""
    found: dict[str, Any] = {
        "max_steps": STEPS,
        "save_steps": 2,
        "warmup_steps": WARM_UP,
        "lr_scheduler_type": kind,
    }
    if kind in schedules.WATCHING:
        found |= EVALUATED
    return found | ({"lr_scheduler_kwargs": KWARGS[kind]} if kind in KWARGS else {})


def rates(kind: str, given: dict[str, Any] | None = None, steps: int = STEPS) -> list[float]:
    """What transformers' own schedule has, update by update."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    made = get_scheduler(kind, optimizer, WARM_UP, steps, given or KWARGS.get(kind))
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        made.step()
    return found


def resume(
    home: Home, node: Node, settings: dict[str, Any], how: dict[str, Any]
) -> tuple[Launch, list[float]]:
    """Resume with changes, which are obeyed; returns the rate of every update."""
    spy = Spy()
    launch = home.order(node, settings)
    home.train(launch, callbacks=lambda: [spy], **how)
    exact.verified(home, launch)
    return launch, [groups[0] for groups in spy.rates]


def trained(home: Home, how: dict[str, Any]) -> Home:
    """A shared home, in which a run has been trained once."""
    try:
        home.find_run(how["run_name"])
    except NotFound:
        home.train(**how)
    return home


def within(home: Home, launch: Launch, step: int) -> Node:
    """A launch's own node at a step."""
    return next(node for node in home.nodes(launch.branch_id) if node.step == step)


def goes_on(home: Home, launch: Launch, step: int, how: dict[str, Any]) -> None:
    """That a branch resumed in the middle, with nothing declared, ends as it has ended."""
    again, _ = resume(home, within(home, launch, step), {}, how)
    assert home.final(again).state_digest == home.final(launch).state_digest


@pytest.mark.parametrize("kind", some(schedules.ARGUMENTS, "cosine_with_restarts", "greedy"))
def test_it_is_exact_and_another_rate_scales_it(kind: str, home: Home) -> None:
    how = script(kind)
    exact.agree(home, lambda: how, (2, 6))
    before = home.points("learning_rate", home.segment().id)
    launch, found = resume(home, home.node(AT), {"lr": 2e-3}, how)
    goes_on(home, launch, 6, how)
    if kind in schedules.WATCHING:
        # These keep no base rate: what is declared is the rate that is in force.
        assert found[0] == 2e-3
        return
    assert found == pytest.approx([2 * before[s] for s in range(AT + 1, STEPS + 1)], rel=1e-9)
    # A shape with rates in it stays what it was where the script is brought up to date.
    goes_on(home, launch, 8, {**how, "learning_rate": 2e-3})


@pytest.mark.parametrize("kind", some(schedules.ARGUMENTS, "polynomial", "warmup_stable_decay"))
def test_it_can_take_the_place_of_another(kind: str, shared_home: Home) -> None:
    how = script("cosine" if kind != "cosine" else "linear")
    how |= {"run_name": how["lr_scheduler_type"], **EVALUATED}
    node = trained(shared_home, how).node(AT, f"{how['run_name']}/main")
    text = schedules.write(KWARGS.get(kind))
    settings = {"lr_scheduler_type": kind} | ({"lr_scheduler_kwargs": text} if text else {})
    launch, found = resume(shared_home, node, settings, how)
    if kind in FIXED:
        assert found == pytest.approx(rates(kind)[AT:], rel=1e-9)
    assert shared_home.final(launch).settings["lr_scheduler_kwargs"] == text
    goes_on(shared_home, launch, 6, how)


@pytest.mark.parametrize("kind", some(OTHERS, "cosine_with_min_lr"))
def test_it_takes_other_arguments(kind: str, home: Home) -> None:
    how = script(kind)
    home.train(**how)
    text = schedules.write(OTHERS[kind])
    launch, found = resume(home, home.node(AT), {"lr_scheduler_kwargs": text}, how)
    assert found == pytest.approx(rates(kind, OTHERS[kind])[AT:], rel=1e-9)
    goes_on(home, launch, 6, how)
    goes_on(home, launch, 8, {**how, "lr_scheduler_kwargs": OTHERS[kind]})


@pytest.mark.parametrize("kind", some(schedules.WATCHING, "reduce_lr_on_plateau"))
def test_one_that_follows_evaluation_takes_other_arguments_and_keeps_its_count(
    kind: str, home: Home
) -> None:
    how = {**script(kind), "max_steps": 14}
    home.train(**how)
    text = schedules.write({**KWARGS[kind], "factor": 0.25})
    launch, found = resume(home, home.node(AT), {"lr_scheduler_kwargs": text}, how)
    before = home.points("learning_rate", home.segment().id)
    assert found[0] == before[AT + 1]
    steps = {round(later / earlier, 9) for earlier, later in zip(found, found[1:], strict=False)}
    assert 0.25 in steps and not steps & {0.5, 0.8}
    state, old = (
        home.snapshot(node).state["scheduler"]["state"]
        for node in (within(home, launch, 6), home.node(6))
    )
    assert state["factor"] == 0.25 and state["best"] == old["best"]
    goes_on(home, launch, 8, how)


LENGTHENED = ["linear", "polynomial", "cosine_warmup_with_min_lr", "warmup_stable_decay"]


@pytest.mark.parametrize("kind", some(LENGTHENED, "warmup_stable_decay"))
def test_it_can_be_made_longer_twice(kind: str, home: Home) -> None:
    how = {**script(kind), "max_steps": 6}
    home.train(**how)
    before = home.points("learning_rate", home.segment().id)
    longer, first = resume(home, home.node(AT), {"max_steps": 10, "horizon": "extend"}, how)
    assert first[0] == pytest.approx(before[AT + 1], rel=1e-9)
    again = {"max_steps": 14, "horizon": "extend"}
    longest, second = resume(home, within(home, longer, 8), again, how)
    assert second[0] == pytest.approx(first[4], rel=1e-9) and len(second) == 6
    goes_on(home, longest, 12, how)
    rescaled, third = resume(
        home, within(home, longest, 12), {"max_steps": 18, "horizon": "rescale"}, how
    )
    assert third == pytest.approx(rates(kind, steps=18)[12:], rel=1e-9)
    goes_on(home, rescaled, 16, how)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an argument that the schedule has not": (
        {"lr_scheduler_kwargs": "power=2"},
        "takes no argument 'power'",
    ),
    "a schedule without what it needs": (
        {"lr_scheduler_type": "warmup_stable_decay"},
        "needs num_decay_steps",
    ),
    "both ways to say the least rate": (
        {
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": "min_lr=1e-5, min_lr_rate=0.1",
        },
        "needs min_lr or min_lr_rate",
    ),
    "no arguments at all": ({"lr_scheduler_kwargs": "fast"}, "name=value"),
    "a schedule that follows evaluation": (
        {"lr_scheduler_type": "greedy"},
        "the script does not evaluate",
    ),
    "how often to evaluate": ({"eval_steps": 2}, "by epoch, or not at all"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_had_is_refused_at_the_door(what: str, shared_home: Home) -> None:
    home = trained(shared_home, {"run_name": "plain"})
    settings, words = REFUSED[what]
    with pytest.raises(InvalidInput, match=words):
        home.order(home.node(4, "plain/main"), settings)


def test_what_only_transformers_can_tell_is_refused_before_training(shared_home: Home) -> None:
    trained(shared_home, {"run_name": "plain"})
    settings = {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": "lr_end=1.0"}
    launch = shared_home.order(shared_home.node(4, "plain/main"), settings)
    with pytest.raises(InvalidInput, match="transformers refused the schedule"):
        shared_home.train(launch)
    assert shared_home.segment(launch.branch_id).started_at is None


def test_arguments_that_only_the_script_has_changed_are_refused(home: Home) -> None:
    how = script("polynomial")
    home.train(**how)
    launch = home.order(home.node(AT))
    with pytest.raises(CheckpointMismatch, match="lr_scheduler_kwargs"):
        home.train(launch, **{**how, "lr_scheduler_kwargs": {"power": 4.0}})


def test_another_schedule_leaves_the_arguments_of_the_last_behind(home: Home) -> None:
    how = script("polynomial")
    home.train(**how)
    launch, _ = resume(home, home.node(AT), {"lr_scheduler_type": "linear"}, how)
    changes = {change.name: change.after for change in home.fork(launch).changes}
    assert changes == {"lr_scheduler_type": "linear", "lr_scheduler_kwargs": ""}


def test_a_branch_of_the_weights_alone_is_rescaled_by_its_own_steps(home: Home) -> None:
    how = {**script("linear"), "max_steps": 6}
    home.train(**how)
    launch = home.order(home.node(2), mode="weights")
    home.train(launch, **how)
    again = {"max_steps": 12, "horizon": "rescale"}
    longer, found = resume(home, within(home, launch, 6), again, how)
    assert found == pytest.approx(rates("linear", steps=10)[4:], rel=1e-9)
    goes_on(home, longer, 8, how)
