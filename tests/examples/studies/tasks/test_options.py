"""All tasks have the same options, and schedules begin low and end low."""

from __future__ import annotations

import pytest
import torch

from branchtrack.examples.studies.tasks import options


def test_a_task_has_its_own_defaults_and_the_common_ones() -> None:
    chosen = options.parser(None, lr=0.1, size=3).parse_args(["--batch", "4"])
    assert (chosen.lr, chosen.size, chosen.batch, chosen.schedule) == (0.1, 3, 4, "constant")


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(SystemExit):
        options.parser(None).parse_args(["--schedule", "square"])


def test_a_cosine_rises_and_then_falls_to_nothing() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    chosen = options.parser(None).parse_args(["--schedule", "cosine", "--steps", "40"])
    schedule = options.schedule(chosen, optimizer)
    assert schedule is not None
    rates = []
    for _ in range(40):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] == 0.5 and max(rates) == 1.0 and rates.index(1.0) == 1
    assert rates[-1] < 0.01 and rates[2:] == sorted(rates[2:], reverse=True)


def test_a_constant_rate_has_no_schedule() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    assert options.schedule(options.parser(None).parse_args([]), optimizer) is None


def test_a_rate_jumps_to_its_whole_after_an_update() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.6)
    words = ["--schedule", "jump", "--turn", "2"]
    schedule = options.schedule(options.parser(None).parse_args(words), optimizer)
    assert schedule is not None
    rates = []
    for _ in range(4):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.1, 0.1, 1.6, 1.6]) and options.JUMP == 16
