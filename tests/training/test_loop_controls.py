"""Restores of plain loops that are broken on purpose: each is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
#: Where it is resumed: in the first pass, with gradients of two batches that wait.
AT = 5


def of(script: Callable[..., Run] = loops.train, **how: Any) -> Script:
    """A script with a node where it is resumed; the ordinary loop."""
    return lambda home, launch: script(home, launch, **{"save_steps": AT, **how})


def order(snapshot: Snapshot) -> None:
    """The epoch's order is drawn from another state."""
    other("loop/data/order/torch")(snapshot)


AVERAGED, WAITING, GAN = (
    of(SCRIPTS[name]) for name in ("an extra object", "gradients that wait", "two optimizers")
)
#: What most of the cases with every change have in common: one training is enough for them.
MIXED = of(data=fed("random", points("python")), scheduler=SCHEDULES["ExponentialLR"])
BROKEN: dict[str, tuple[Script, Callable[[Snapshot], None]]] = {
    "weights": (of(), without("model/0.weight")),
    "buffers": (of(), without("running_mean")),
    "momentum": (MIXED, without("/momentum_buffer")),
    "moments of the second optimizer": (GAN, without("optimizer/maker")),
    "moments of the first optimizer": (GAN, without("optimizer/judge")),
    "scheduler": (of(scheduler=SCHEDULES["CosineAnnealingLR"]), scheduler),
    "torch generator": (of(), other("rng/torch")),
    "python generator": (MIXED, other("rng/python")),
    "numpy generator": (of(data=fed("random", points("numpy"))), other("rng/numpy")),
    "place": (MIXED, loop("data", "samples", value=4)),
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


def differs(home: Home, script: Script) -> bool:
    """Whether a resume can be told from the uninterrupted training."""
    launch = home.order(home.node(AT))
    script(home, launch)
    if home.final(launch).state_digest != home.final().state_digest:
        return True
    return loops.logged(home, launch.segment_id) != loops.logged(home, home.segment().id, AT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Script], Home]]:
    """Trains a script, once for the module, in a home in which it is resumed exactly."""
    homes: dict[Script, Home] = {}

    def home_of(script: Script) -> Home:
        if script not in homes:
            homes[script] = Home(tmp_path_factory.mktemp("trained"))
            script(homes[script], None)
            assert not differs(homes[script], script)
        return homes[script]

    yield home_of
    for home in homes.values():
        home.close()


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
    what: str, trained: Callable[[Script], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, spoil = BROKEN[what]
    home, real = trained(script), commits.load

    def load(*args: Any) -> Snapshot:
        found = real(*args)
        spoil(found)
        return found

    monkeypatch.setattr(commits, "load", load)
    assert differs(home, script)


def nothing(*_: Any) -> None:
    """What was to be done is not."""


LEFT_OUT: dict[str, tuple[Script, Any, str]] = {
    "every generator": (MIXED, rng, "restore"),
    "gradients": (WAITING, gradients, "restore"),
    "the place": (MIXED, data.LoopBatches, "resume"),
    "the state of live objects": (MIXED, resumption, "restore"),
    "the optimizers": (MIXED, snapshots.optimizers, "restore"),
    "the schedulers": (MIXED, snapshots.optimizers, "restore_schedule"),
    "the loop's own": (AVERAGED, beginning, "restore_state"),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_a_step_of_the_restore_that_is_left_out_is_noticed(
    what: str, trained: Callable[[Script], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, owner, name = LEFT_OUT[what]
    home = trained(script)
    monkeypatch.setattr(owner, name, nothing)
    assert differs(home, script)


def test_generators_that_are_brought_back_too_early_are_noticed(
    trained: Callable[[Script], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = trained(AVERAGED)
    monkeypatch.setattr(Run, "_come_back", nothing)
    assert differs(home, AVERAGED)
