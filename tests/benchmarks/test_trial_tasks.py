"""Forks of a task's trunk differ in their seed and their changes alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from branchtrack.training.session import ordinals
from tests.benchmarks.trial_tasks import TASKS, change, from_scratch, trunk_of

SMALL = replace(TASKS["regression"], at=5)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """As in a process that has trained nothing yet."""
    ordinals.reset()


def test_a_fork_ends_in_the_bits_of_its_trunk_and_of_another_with_its_seed() -> None:
    with trunk_of(SMALL, 1, 6) as trunk:
        assert trunk.fork({}, None) == trunk.end
        first, second, other = (trunk.fork({}, seed) for seed in (7, 7, 8))
        hotter = trunk.fork({"lr": "x3"}, 7)
    assert first == second != other
    assert hotter.digest not in (first.digest, other.digest)


def test_a_training_from_scratch_is_of_its_seed_and_change() -> None:
    same, again, hotter = from_scratch(SMALL, 1, 6, [{}, {}, {"lr": "x3"}])
    assert same == again != hotter
    assert from_scratch(SMALL, 2, 6, [{}])[0] != same


@pytest.mark.parametrize("name", TASKS)
def test_a_change_from_scratch_is_what_a_resume_makes_of_it(name: str) -> None:
    model = TASKS[name].build()
    optimizer = TASKS[name].optimizer(model)
    rate, decay = (optimizer.param_groups[0][key] for key in ("lr", "weight_decay"))
    change(model, optimizer, {"lr": "x0.5", "weight_decay": "x10", "dropout": 0.3})
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == pytest.approx((rate / 2, decay * 10))
    dropouts = [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
    assert dropouts and set(dropouts) == {0.3}


def test_parts_of_a_task_have_nothing_in_common() -> None:
    train, held_out = TASKS["digits"].parts()
    assert (len(train[0]), len(held_out[0])) == (1348, 449)
    rows = {tuple(row) for row in train[0].tolist()}
    assert not any(tuple(row) in rows for row in held_out[0].tolist())
    assert train[0].dtype == torch.float32
