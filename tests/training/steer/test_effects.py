"""A request is verified only if every reading of its update shows it, and the update differs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from branchtrack.training.settings import apply, shadow_step
from branchtrack.training.settings.live import Live
from branchtrack.training.settings.shadow_step import Outcome
from branchtrack.training.steer import effects
from branchtrack.training.steer.answers import Answer, Expectation
from branchtrack.training.steer.effects import Probe, Verdict
from tests.training.steer.test_execution import request


@pytest.fixture
def live() -> Live:
    """A model with gradients, and its optimizer."""
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    options = SimpleNamespace(max_grad_norm=9.0)
    return Live(model, torch.optim.SGD(model.parameters(), 0.1), None, options, [True])


def change(live: Live, **settings: Any) -> tuple[Answer, Expectation]:
    """A change of settings, as it is expected of the next update."""
    before = shadow_step.options(live)
    apply.write_all(live, settings)
    answer = Answer(request("set"), settings=dict(settings))
    answer.options = before, shadow_step.options(live)
    return answer, Expectation(settings, apply.read_groups(live), [answer], None, [])


def update(live: Live, expected: Expectation) -> list[Verdict]:
    probe, readings = Probe(expected), [apply.used(live)]
    probe.before(live)
    live.optimizer.step()
    probe.after(live)
    readings.append({**readings[0], **apply.in_force(live)})
    return effects.verdicts(expected, readings, 7, live)


def test_a_change_that_the_update_shows_is_verified(live: Live) -> None:
    answer, expected = change(live, lr=0.5)
    (verdict,) = update(live, expected)
    assert (verdict.state, verdict.error) == ("verified", None)
    assert verdict.effective["lr"] == 0.5 and verdict.effective["step"] == 7
    assert answer.outcome is not None and answer.outcome.changed == 3


def test_a_setting_that_something_overwrites_is_ineffective(live: Live) -> None:
    _answer, expected = change(live, lr=0.5)
    live.groups[0]["lr"] = 0.1
    (verdict,) = update(live, expected)
    assert verdict.state == "ineffective"
    assert verdict.error == "lr was to be 0.5, and update 7 used 0.1."


def test_a_rate_that_is_reset_after_the_update_is_ineffective(live: Live) -> None:
    _answer, expected = change(live, lr=0.5)
    readings = [apply.used(live)]
    live.groups[0]["lr"] = 0.1
    (verdict,) = effects.verdicts(expected, readings, 7, live)
    assert verdict.error is not None and "reset the rate to 0.1 after the update" in verdict.error


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Outcome(0, 0), "had a gradient"),
        (
            Outcome(0, 1000),
            "came out the same, bit for bit",
        ),
    ],
)
def test_a_change_that_no_parameter_shows_is_ineffective(
    live: Live, outcome: Outcome, why: str
) -> None:
    answer, expected = change(live, weight_decay=0.5)
    answer.outcome = outcome
    (verdict,) = effects.verdicts(expected, [apply.used(live)], 7, live)
    assert verdict.state == "ineffective" and why in (verdict.error or "")


def test_an_effect_on_later_updates_alone_is_one(live: Live) -> None:
    answer, expected = change(live, momentum=0.9)
    answer.outcome = Outcome(0, 1000, remembers=True)
    (verdict,) = effects.verdicts(expected, [apply.used(live)], 7, live)
    assert verdict.state == "verified"


def test_clipping_that_was_not_done_is_ineffective(live: Live) -> None:
    answer, expected = change(live, max_grad_norm=0.5)
    answer.options = None
    (verdict,) = effects.verdicts(expected, [apply.used(live)], 7, live)
    assert verdict.state == "ineffective" and "update 7 used 1.7" in (verdict.error or "")


def test_requests_that_failed_or_changed_no_setting_have_no_verdict(live: Live) -> None:
    _answer, expected = change(live, lr=0.5)
    expected.answers += [Answer(request("pause")), Answer(request("set"), state="failed")]
    assert len(update(live, expected)) == 1


def test_a_sample_that_cannot_be_taken_costs_no_update(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, expected = change(live, lr=0.5)
    monkeypatch.setattr(effects, "Sample", lambda *_: 1 / 0)
    (verdict,) = update(live, expected)
    assert answer.outcome is None and verdict.state == "verified"


def test_while_the_rate_is_zero_nothing_is_compared(live: Live) -> None:
    live.groups[0]["lr"] = 0.0
    answer, expected = change(live, weight_decay=0.5)
    update(live, expected)
    assert answer.outcome is None
