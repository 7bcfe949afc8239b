"""Restores that are broken on purpose: each is noticed, or tests of exactness prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EarlyStoppingCallback

from branchtrack.training import rng
from branchtrack.training.data import iterable
from branchtrack.training.record import commits
from branchtrack.training.state.snapshots import Snapshot
from branchtrack.training.trainer import state
from tests.matrices import some
from tests.training import matrix, tiny
from tests.training.homes import Home

LOGGED = ("loss", "grad_norm", "learning_rate", "eval_loss")
PLAIN: dict[str, Any] = {
    "data": "map",
    "order": "random",
    "draws": "nothing",
    "workers": 0,
    "accumulation": 1,
    "evaluation": "off",
    "noise": "dropout",
}


def without(*names: str) -> Callable[[Snapshot], None]:
    """Makes the tensors zero whose names begin so or end so."""

    def spoil(snapshot: Snapshot) -> None:
        found = [t for n, t in snapshot.tensors.items() if n.startswith(names) or n.endswith(names)]
        assert found
        for tensor in found:
            tensor.zero_()

    return spoil


def other(prefix: str) -> Callable[[Snapshot], None]:
    """Gives a generator another state: the keys of Mersenne twisters turned, torch's of a seed."""

    def spoil(snapshot: Snapshot) -> None:
        tensors = {n: t for n, t in snapshot.tensors.items() if n.startswith(prefix)}
        assert tensors
        for name, tensor in tensors.items():
            if tensor.dtype == torch.uint8:
                snapshot.tensors[name] = torch.Generator().manual_seed(99).get_state()
            else:
                keys = tensor.numpy().copy()
                keys[:624] = np.roll(keys[:624], 7)
                snapshot.tensors[name] = torch.from_numpy(keys)

    return spoil


def loop(*path: str, value: Any) -> Callable[[Snapshot], None]:
    """Gives a value of the loop's own state another one."""

    def spoil(snapshot: Snapshot) -> None:
        found = snapshot.state["loop"]
        for name in path[:-1]:
            found = found[name]
        assert path[-1] in found
        found[path[-1]] = value

    return spoil


def scheduler(snapshot: Snapshot) -> None:
    """The schedule begins anew."""
    snapshot.state["scheduler"]["state"] |= {"last_epoch": 0, "_step_count": 1}


#: Nodes within a window of what is logged, in the first pass and in the second.
FIRST, SECOND = 5, 10


def how(**case: Any) -> dict[str, Any]:
    return {**matrix.how({**PLAIN, **case}), "max_steps": 12, "save_steps": FIRST}


#: What most of the cases with every change have in common: one training is enough for them.
MIXED = how(order="unseeded", draws="numpy")
NORMED: dict[str, Any] = {"model": tiny.normed, "max_steps": 10, "save_steps": FIRST}
PATIENT: dict[str, Any] = {
    "eval_strategy": "steps",
    "eval_steps": 1,
    "metric_for_best_model": "eval_loss",
    "load_best_model_at_end": True,
    "learning_rate": 0.05,
    "lr_scheduler_type": "constant",
    "held_out": tiny.Sentences(8, seed=1000),
    "save_steps": 1,
    "save_total_limit": 1,
    "callbacks": lambda: [EarlyStoppingCallback(early_stopping_patience=3)],
}

BROKEN: dict[str, tuple[dict[str, Any], Callable[[Snapshot], None]]] = {
    "weights": (how(), without("h.0.ln_1.bias")),
    "first moments": (how(), without("/exp_avg")),
    "second moments": (MIXED, without("/exp_avg_sq")),
    "step count": (how(), without("/step")),
    "scheduler": (MIXED, scheduler),
    "torch generator": (how(), other("rng/torch")),
    "python generator": (how(draws="python"), other("rng/python")),
    "numpy generator": (MIXED, other("rng/numpy")),
    "logging window": (how(), loop("window", "last_logged", value=0)),
    "loss of the window": (how(), without("loop/window/loss")),
    "samples": (how(), loop("data", "samples", value=4)),
    "pass of an iterable": (how(data="many passes", draws="torch"), loop("data", "epoch", value=0)),
    "order of the epoch": (MIXED, other("loop/data/order/torch")),
    "batch fetched ahead": (how(draws="python"), loop("data", "ahead", value=None)),
    "seed of the order": (how(), loop("data", "order_seed", value=1)),
    "key of workers": (how(draws="torch", workers=2), loop("data", "seed", value=1)),
    "running mean": (NORMED, without("model/norm.running_mean")),
    "a buffer that is not saved": (NORMED, without("model/noise")),
    "patience": (PATIENT, loop("callbacks", value={})),
}


def differs(home: Home, given: dict[str, Any], at: int) -> bool:
    """Whether a resume can be told from the uninterrupted training."""
    launch = home.order(home.node(at, "tiny/main"))
    home.train(launch, **given)
    whole, final = home.segment(), home.final()
    if home.final(launch).state_digest != final.state_digest:
        return True
    for metric in LOGGED:
        rest = {s: v for s, v in home.points(metric, whole.id).items() if s > at}
        if home.points(metric, launch.segment_id) != rest:
            return True
    return False


@pytest.fixture(scope="module")
def mixed(shared_home: Home) -> Home:
    """A home in which what most of the cases have in common is trained, and resumed exactly."""
    shared_home.train(**MIXED)
    assert not any(differs(shared_home, MIXED, at) for at in (FIRST, SECOND))
    return shared_home


def trained(request: pytest.FixtureRequest, given: dict[str, Any]) -> Home:
    """A home in which it is trained: one for all where it is what most have in common."""
    if given is MIXED:
        shared: Home = request.getfixturevalue("mixed")
        return shared
    home: Home = request.getfixturevalue("home")
    home.train(**given)
    return home


@pytest.mark.parametrize(
    "what", some(BROKEN, "second moments", "scheduler", "numpy generator", "order of the epoch")
)
def test_a_broken_restore_is_noticed(
    what: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, spoil = BROKEN[what]
    home = trained(request, given)
    at = SECOND if what == "samples" or "iterable" in what or "order" in what else FIRST
    at = home.final().step - 1 if what == "patience" else at
    assert given is MIXED or not differs(home, given, at)
    real = commits.load

    def load(*args: Any) -> Snapshot:
        found = real(*args)
        spoil(found)
        return found

    monkeypatch.setattr(commits, "load", load)
    assert differs(home, given, at)


LEFT_OUT: dict[str, tuple[dict[str, Any], Any, str, Any]] = {
    "isolation of a stream": (
        how(data="many passes", draws="torch"),
        iterable.Streamed,
        "_enter",
        lambda *_: None,
    ),
    "the window": (MIXED, state, "restore_window", lambda *_: None),
    "every generator": (MIXED, rng, "restore", lambda *_: None),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_a_step_of_the_restore_that_is_left_out_is_noticed(
    what: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, owner, name, nothing = LEFT_OUT[what]
    if given is MIXED:
        request.getfixturevalue("mixed")
    monkeypatch.setattr(owner, name, nothing)
    assert differs(trained(request, given), given, FIRST)
