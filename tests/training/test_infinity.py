"""Settings of infinity are taken, stored, shown, resumed and changed like any other."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import branchtrack
from branchtrack.cli.main import cli
from branchtrack.errors import InvalidInput
from tests.training import loops, tiny
from tests.training.callbacks import At
from tests.training.homes import Home
from tests.training.loop.test_run import asking


class Growing(torch.optim.SGD):
    """SGD whose steps may grow, as of Prodigy: as they like, unless it is told."""

    def __init__(self, params: Any, lr: float = 0.1, growth_rate: float = float("inf")) -> None:
        super().__init__(params, lr=lr, momentum=0.9)
        for group in self.param_groups:
            group["growth_rate"] = growth_rate


def growing(model: torch.nn.Module) -> torch.optim.Optimizer:
    return Growing(model.parameters())


def clipped(run: Any, optimizer: Any) -> None:
    """As a loop reads a setting of its own."""
    assert run.settings["clip"] > 0


def call(home: Home, *words: str) -> Any:
    found = CliRunner().invoke(cli, ["--home", str(home.config.home), *words])
    assert found.exit_code == 0, found.output
    return json.loads(found.output)


def test_a_field_of_an_optimizer_and_a_setting_of_ones_own_are_resumed(home: Home) -> None:
    how = {"optimizer": growing, "settings": {"clip": math.inf}, "at": clipped}
    loops.resumes_exactly(home, how, every=4)
    node = home.final()
    assert node.settings["growth_rate"] == node.settings["clip"] == math.inf
    told = call(home, "show", node.id, "--json")
    assert told["settings"]["clip"] == told["settings"]["growth_rate"] == "Infinity"
    offered = {one["name"]: one for one in call(home, "resume", node.id, "--list", "--json")}
    assert offered["clip"]["value"] == "Infinity" and "inf" in offered["growth_rate"]["allowed"]


def test_prodigy_is_resumed_exactly(home: Home) -> None:
    from prodigyopt import Prodigy

    loops.resumes_exactly(home, {"optimizer": lambda m: Prodigy(m.parameters())}, every=4)
    assert home.final().settings["growth_rate"] == math.inf


def test_a_resume_takes_infinity_and_gives_it_up_again(home: Home) -> None:
    how: dict[str, Any] = {"optimizer": growing, "settings": {"clip": 1.0}, "at": clipped}
    how["save_steps"] = 3
    loops.train(home, **how)
    up = home.order(home.node(3), {"clip": "inf", "growth_rate": "1.5"})
    loops.train(home, up, **how)
    assert (home.fork(up).settings["clip"], home.fork(up).settings["growth_rate"]) == (
        math.inf,
        1.5,
    )
    effective = home.fork(up).effective
    assert effective is not None and effective["verified"] and effective["clip"] == math.inf
    down = home.order(home.node(6, up.branch_id), {"growth_rate": "inf"})
    loops.train(home, down, **how)
    assert home.final(down).settings["growth_rate"] == math.inf


def test_a_live_change_to_infinity_is_carried_out(home: Home) -> None:
    asked = {"kind": "set", "values": {"clip": "inf"}}
    at = asking(home, {3: asked}, "clip")
    loops.train(home, settings={"clip": 1.0}, at=at, max_steps=5, save_steps=5)
    assert home.requests()[0].state == "verified"
    changes = [change for node in home.nodes() for change in node.changes]
    assert [(one.before, one.after) for one in changes] == [(1.0, math.inf)]


def test_clipping_at_infinity_is_resumed_by_a_trainer(home: Home) -> None:
    how = {"max_grad_norm": math.inf, "save_steps": 4, "max_steps": 6}
    home.train(**how)
    whole, node = home.final(), home.node(4)
    launch = home.resume(node, **how)
    assert home.final(launch).state_digest == whole.state_digest
    assert whole.settings["max_grad_norm"] == math.inf
    home.resume(node, {"max_grad_norm": "0.5"}, **how)
    again = home.resume(node, {"max_grad_norm": "inf"}, **how)
    assert home.final(again).state_digest == whole.state_digest


@pytest.mark.parametrize("value", [math.nan, [1.0, math.nan]])
def test_a_setting_of_nan_is_refused_by_its_name(value: Any) -> None:
    with pytest.raises(InvalidInput, match="clip"):
        model = loops.net()
        branchtrack.start("x", model=model, optimizer=loops.sgd(model), settings={"clip": value})


def test_clipping_is_turned_off_by_infinity_while_a_trainer_trains(home: Home) -> None:
    asked: list[Any] = []
    at = At(4, lambda: asked.append(home.ask("set", values={"max_grad_norm": "inf"})))
    trainer = tiny.trainer(
        tiny.BranchingTrainer, home.folder, callbacks=lambda: [at], max_steps=7, save_steps=7
    )
    at.trainer = trainer
    home.run(trainer)
    request = home.request(asked[0].id)
    assert (request.state, request.applied) == ("verified", {"max_grad_norm": math.inf})
    assert home.final().settings["max_grad_norm"] == math.inf
