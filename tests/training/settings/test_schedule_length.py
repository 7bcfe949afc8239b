"""How far schedules reach, alone and one behind another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from branchtrack.errors import InvalidInput
from branchtrack.training.settings import schedule_length
from branchtrack.training.settings.live import Live


def optimizer() -> Any:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1, momentum=0.9)


def cycle(one: Any, steps: int) -> Any:
    return schedulers.OneCycleLR(one, 0.1, total_steps=steps)


def warm(one: Any) -> Any:
    return schedulers.LinearLR(one, 0.1, total_iters=3)


REACHES: dict[str, tuple[Any, int | None]] = {
    "alone": (lambda o: cycle(o, 6), 6),
    "behind a warm-up": (lambda o: schedulers.SequentialLR(o, [warm(o), cycle(o, 6)], [3]), 9),
    "before another": (lambda o: schedulers.SequentialLR(o, [cycle(o, 6), warm(o)], [6]), None),
    "with another": (lambda o: schedulers.ChainedScheduler([warm(o), cycle(o, 6)]), 6),
    "endless": (warm, None),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REACHES)
def test_a_schedule_can_be_stepped_as_far_as_it_reaches(name: str) -> None:
    make, expected = REACHES[name]
    scheduler = make(optimizer())
    assert schedule_length.reach(scheduler) == expected
    for number in range(1, (expected or 20) + 1):
        scheduler.step()
        assert schedule_length.position(scheduler) == number
    if expected is not None:
        with pytest.raises(ValueError, match="Tried to step"):
            scheduler.step()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("stepped", "at", "most", "each_update"),
    [(4, 4, 6, False), (4, 4, 6, True), (2, 200, 600, False), (2, 200, 204, True), (0, 0, 6, True)],
)
def test_training_may_go_on_as_long_as_the_schedule_does(
    stepped: int, at: int, most: int, each_update: bool
) -> None:
    one = optimizer()
    live = Live(torch.nn.Linear(1, 1), one, cycle(one, 6), SimpleNamespace(), [True])
    for _ in range(stepped):
        live.scheduler.step()
    how: dict[str, Any] = {"before": None, "each_update": each_update, "way": "another way"}
    schedule_length.check(live, at, most, **how)
    with pytest.raises(InvalidInput, match="another way"):
        schedule_length.check(live, at, most + 1, **how)


def test_at_the_first_step_the_length_before_tells_how_often_it_is_stepped() -> None:
    one = optimizer()
    live = Live(torch.nn.Linear(1, 1), one, cycle(one, 6), SimpleNamespace(), [True])
    how: dict[str, Any] = {"each_update": False, "way": "another way"}
    schedule_length.check(live, 0, 600, before=600, **how)
    with pytest.raises(InvalidInput):
        schedule_length.check(live, 0, 601, before=600, **how)
    with pytest.raises(InvalidInput):
        schedule_length.check(live, 0, 7, before=4, **how)
