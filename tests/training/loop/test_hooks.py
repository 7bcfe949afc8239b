"""What an update uses is read at the optimizers' own steps, only while it is expected."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from branchtrack.training.loop.hooks import Effects
from branchtrack.training.settings import apply
from branchtrack.training.settings.author import Values
from branchtrack.training.settings.live import Live
from branchtrack.training.steer.answers import Answer, Expectation
from tests.training.steer.test_execution import request


class FakeSession:
    """A session that notes what it is told of an update."""

    base = witness = None

    def __init__(self) -> None:
        self.expecting: Expectation | None = None
        self.told: list[tuple[int, Any]] = []
        self.probe = SimpleNamespace(before=lambda *_: None, after=lambda *_: None)

    def settle(self, step: int, readings: Any, live: Live) -> None:
        self.told.append((step, readings))
        self.expecting = None


def single() -> Live:
    model = torch.nn.Linear(2, 1)
    return Live(model, torch.optim.SGD(model.parameters(), 0.1), None, SimpleNamespace(), [True])


def two() -> Live:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    optimizers = {name: torch.optim.SGD(model[name].parameters(), 0.1) for name in model}
    return Live(model, optimizers, None, SimpleNamespace(), [True, True])


class Loop:
    """A loop with hooks on its optimizers."""

    def __init__(self, live: Live) -> None:
        self.live, self.session = live, FakeSession()
        session: Any = self.session
        self.effects = Effects(live, session)

    def expect(self, changed: tuple[str, ...] = (), **settings: Any) -> None:
        answers = [Answer(request("set"), settings={name: settings[name] for name in changed})]
        groups = apply.read_groups(self.live)
        self.session.expecting = Expectation(settings, groups, answers, None, [])
        self.effects.expect()

    def update(self, step: int, *names: str) -> None:
        for parameter in self.live.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        for name, optimizer_objects in self.live.parts.items():
            if not names or name in names:
                optimizer_objects.optimizer.step()
        self.effects.settle(step)


@pytest.fixture
def loops() -> Iterator[list[Loop]]:
    """Loops whose hooks are removed at the end."""
    opened: list[Loop] = []
    yield opened
    for loop in opened:
        loop.effects.close()


def test_an_update_of_which_nothing_is_expected_is_not_read(loops: list[Loop]) -> None:
    loops.append(loop := Loop(single()))
    assert not loop.effects.moved
    loop.update(1)
    assert loop.effects.moved and loop.session.told == []


def test_what_an_update_used_is_told_once_before_and_after_its_step(loops: list[Loop]) -> None:
    loops.append(loop := Loop(single()))
    loop.expect(lr=0.1)
    loop.update(7)
    loop.update(8)
    ((step, readings),) = loop.session.told
    assert step == 7 and [reading["lr"] for reading in readings] == [0.1, 0.1]


def test_an_optimizer_that_changes_its_rate_within_its_step_is_seen(loops: list[Loop]) -> None:
    loops.append(loop := Loop(single()))
    loop.live.optimizer.register_step_post_hook(lambda *_: loop.live.groups[0].update(lr=9.0))
    effects = loop.effects
    effects.close()
    loop.effects = Effects(loop.live, effects._session)
    loop.expect(lr=0.1)
    loop.update(7)
    assert [reading["lr"] for reading in loop.session.told[0][1]] == [0.1, 9.0]


def test_an_optimizer_whose_change_is_awaited_is_waited_for(loops: list[Loop]) -> None:
    loops.append(loop := Loop(two()))
    loop.expect(("b.lr",), **{"a.lr": 0.1, "b.lr": 0.1})
    loop.update(7, "a")
    assert loop.session.told == []
    loop.update(8, "a", "b")
    assert [step for step, _ in loop.session.told] == [8]


def test_an_optimizer_that_was_not_changed_is_not_waited_for(loops: list[Loop]) -> None:
    loops.append(loop := Loop(two()))
    loop.expect(("a.lr",), **{"a.lr": 0.1, "b.lr": 0.1})
    expected = loop.session.expecting
    loop.update(7, "a")
    assert [step for step, _ in loop.session.told] == [7]
    assert expected is not None and expected.settings == {"a.lr": 0.1}


def test_a_setting_of_the_authors_counts_with_the_value_that_was_read(loops: list[Loop]) -> None:
    live = single()
    live.values = Values({"alpha": 0.5, "beta": 0.5})
    loops.append(loop := Loop(live))
    loop.expect(("alpha",), alpha=0.5, beta=0.5)
    expected = loop.session.expecting
    assert live.values["alpha"] == 0.5
    loop.update(7)
    assert loop.session.told[0][1][0]["alpha"] == 0.5
    assert expected is not None and expected.settings == {"alpha": 0.5}, "beta was not read"


def test_a_reading_that_fails_costs_no_update(
    loops: list[Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    loops.append(loop := Loop(single()))
    loop.expect(lr=0.1)
    monkeypatch.setattr(apply, "used", lambda _: 1 / 0)
    monkeypatch.setattr(apply, "in_force", lambda _: 1 / 0)
    loop.update(7)
    assert loop.session.told == [] and loop.effects.moved


def test_closed_hooks_see_nothing(loops: list[Loop]) -> None:
    loop = Loop(single())
    loop.effects.close()
    loop.update(1)
    assert not loop.effects.moved
