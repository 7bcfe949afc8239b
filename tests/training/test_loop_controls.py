"""Restores of plain loops that are broken on purpose: each is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from branchtrack.core.records import Launch
from branchtrack.training import rng
from branchtrack.training.loop import beginning, data, resumption
from branchtrack.training.loop.run import Run
from branchtrack.training.record import commits
from branchtrack.training.state import gradients, snapshots
from branchtrack.training.state.snapshots import Snapshot
from tests.matrices import some
from tests.training import loops
from tests.training.homes import Home
from tests.training.loop_scripts import SCRIPTS
from tests.training.test_controls import loop, other, scheduler, without
from tests.training.test_loop_exactness import SCHEDULES, fed, points

Script = Callable[[Home, Launch | None], Run]


def of(**how: Any) -> Script:
    """The ordinary loop."""
    return lambda home, launch: loops.train(home, launch, **how)


def order(snapshot: Snapshot) -> None:
    """The epoch's order is drawn from another state."""
    other("loop/data/order/torch")(snapshot)


AVERAGED, WAITING, GAN = (
    SCRIPTS[name] for name in ("an extra object", "gradients that wait", "two optimizers")
)
BROKEN: dict[str, tuple[Script, Callable[[Snapshot], None]]] = {
    "weights": (of(), without("model/0.weight")),
    "buffers": (of(), without("running_mean")),
    "momentum": (of(), without("/momentum_buffer")),
    "moments of the second optimizer": (GAN, without("optimizer/maker")),
    "moments of the first optimizer": (GAN, without("optimizer/judge")),
    "scheduler": (of(scheduler=SCHEDULES["CosineAnnealingLR"]), scheduler),
    "torch generator": (of(), other("rng/torch")),
    "python generator": (of(data=fed("random", points("python"))), other("rng/python")),
    "numpy generator": (of(data=fed("random", points("numpy"))), other("rng/numpy")),
    "place": (of(), loop("data", "samples", value=4)),
    "pass": (of(data=fed("random", lambda: loops.Flow("torch"))), loop("data", "epoch", value=3)),
    "order of the pass": (of(), order),
    "seed of an iterable": (
        of(data=fed("random", lambda: loops.Flow("torch"))),
        loop("data", "seed", value=1),
    ),
    "an object's tensors": (AVERAGED, without("loop/objects/average/mean")),
    "an object's values": (AVERAGED, loop("objects", "average", "count", value=0)),
    "gradients that wait": (WAITING, without("grad/")),
}


def differs(home: Home, script: Script, at: int) -> bool:
    """Whether a resume can be told from the uninterrupted training."""
    launch = home.order(home.node(at))
    script(home, launch)
    if home.final(launch).state_digest != home.final().state_digest:
        return True
    return loops.logged(home, launch.segment_id) != loops.logged(home, home.segment().id, at)


@pytest.mark.parametrize(
    "what",
    some(
        BROKEN,
        "momentum",
        "python generator",
        "place",
        "an object's tensors",
        "gradients that wait",
    ),
)
def test_a_broken_restore_is_noticed(
    what: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, spoil = BROKEN[what]
    script(home, None)
    assert not differs(home, script, 5)
    real = commits.load

    def load(*args: Any) -> Snapshot:
        found = real(*args)
        spoil(found)
        return found

    monkeypatch.setattr(commits, "load", load)
    assert differs(home, script, 5)


def nothing(*_: Any) -> None:
    """What was to be done is not."""


LEFT_OUT: dict[str, tuple[Script, Any, str]] = {
    "every generator": (of(), rng, "restore"),
    "gradients": (WAITING, gradients, "restore"),
    "the place": (of(), data.LoopBatches, "resume"),
    "the state of live objects": (of(), resumption, "restore"),
    "the optimizers": (of(), snapshots.optimizers, "restore"),
    "the schedulers": (
        of(scheduler=SCHEDULES["ExponentialLR"]),
        snapshots.optimizers,
        "restore_schedule",
    ),
    "the loop's own": (AVERAGED, beginning, "restore_state"),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_a_step_of_the_restore_that_is_left_out_is_noticed(
    what: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, owner, name = LEFT_OUT[what]
    script(home, None)
    monkeypatch.setattr(owner, name, nothing)
    assert differs(home, script, 5)


def test_generators_that_are_brought_back_too_early_are_noticed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    AVERAGED(home, None)
    monkeypatch.setattr(Run, "_come_back", nothing)
    assert differs(home, AVERAGED, 5)
