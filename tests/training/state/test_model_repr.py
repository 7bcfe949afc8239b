"""What a model's modules are is compared: another behaviour in the script is no silent change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from branchtrack.core.records import Launch
from branchtrack.db import tables
from branchtrack.errors import CheckpointMismatch
from branchtrack.training.settings import modules
from branchtrack.training.state import model_repr
from tests.training import loops, tiny
from tests.training.homes import Home

SHORT: dict[str, Any] = {"max_steps": 4, "save_steps": 2}


class Stacked(nn.Module):
    """Several equal blocks, told once by torch."""

    def __init__(self, slope: float = 0.1, dropout: float = 0.1) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(OrderedDict(act=nn.LeakyReLU(slope), drop=nn.Dropout(dropout)))
            for _ in range(3)
        )


class Telling(nn.Module):
    """A module that tells of itself what it is given."""

    def __init__(self, words: Callable[[], str]) -> None:
        super().__init__()
        self.words = words

    def extra_repr(self) -> str:
        return self.words()


def told(words: Callable[[], str]) -> dict[str, str]:
    return model_repr.of(nn.Sequential(Telling(words)))


def test_equal_blocks_are_told_once_and_a_difference_is_named_by_its_path() -> None:
    one, other = (model_repr.of(Stacked(slope))[model_repr.MODULES] for slope in (0.1, 0.2))
    assert one.count("LeakyReLU") == 1
    path, found, expected = model_repr.difference(other, one)
    assert path == "blocks.0-2.act"
    assert (found, expected) == ("LeakyReLU(negative_slope=0.2)", "LeakyReLU(negative_slope=0.1)")


def test_dropout_and_freezing_do_not_show() -> None:
    plain, changed = Stacked(), Stacked(dropout=0.7)
    modules.dropouts(changed)["blocks.1.drop"].p = 0.3
    modules.write_frozen(changed, "head.weight")
    assert model_repr.of(plain) == model_repr.of(changed)
    assert [one.p for one in modules.dropouts(changed).values()] == [0.7, 0.3, 0.7]
    assert "p=" not in model_repr.of(plain)[model_repr.MODULES]


def test_addresses_devices_and_the_order_of_a_set_are_left_out() -> None:
    a = told(lambda: "hook=<function f at 0x7f00aa>, on=(cuda:0), names={'a', 'b'}")
    b = told(lambda: "hook=<function f at 0x7f11bb>, on=(cuda:0), names={'b', 'a'}")
    assert a == b and "hook=<function f>" in a[model_repr.MODULES]


def test_what_is_not_the_same_twice_or_cannot_be_told_is_left_out() -> None:
    count = iter(range(9))
    assert told(lambda: f"call {next(count)}") == {}

    def fails() -> str:
        raise RuntimeError("no words")

    assert told(fails) == {}


def test_very_long_ones_are_kept_as_a_digest_that_differs() -> None:
    a, b = told(lambda: "x" * 200_000), told(lambda: "y" * 200_000)
    assert len(a[model_repr.MODULES]) < 100 and a != b
    with pytest.raises(CheckpointMismatch, match="The model is modules of digest"):
        model_repr.check(a, b)


def test_a_module_that_is_gone_or_new_is_named() -> None:
    short, long = nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU(), nn.Tanh())
    one, other = model_repr.of(short), model_repr.of(long)
    with pytest.raises(CheckpointMismatch, match=r"model's module 1 is not there .* was Tanh\(\)"):
        model_repr.check(one, other)
    with pytest.raises(CheckpointMismatch, match=r"model's module 1 is Tanh\(\) .* was not there"):
        model_repr.check(other, one)


def with_tanh() -> Any:
    made: Any = loops.net()
    made[2] = torch.nn.Tanh()
    return made


def with_momentum() -> Any:
    made: Any = loops.net()
    made[1].momentum = 0.5
    return made


def normed_otherwise() -> tiny.Normed:
    made = tiny.normed()
    made.norm.momentum = 0.5
    return made


@pytest.mark.parametrize(
    ("model", "path", "mine", "theirs"),
    [
        (with_tanh, "2", "Tanh()", "ReLU()"),
        (with_momentum, "1", "momentum=0.5", "momentum=0.1"),
    ],
)
def test_a_loop_whose_model_behaves_otherwise_is_refused(
    home: Home, model: Any, path: str, mine: str, theirs: str
) -> None:
    loops.train(home, **SHORT)
    launch = home.order(home.node(2))
    with pytest.raises(CheckpointMismatch) as caught:
        loops.train(home, launch, model=model, **SHORT)
    refused(home, launch, caught.value, f"model.{path}", mine, theirs)


def test_a_trainer_whose_model_behaves_otherwise_is_refused(home: Home) -> None:
    home.train(model=tiny.normed, **SHORT)
    launch = home.order(home.node(2))
    with pytest.raises(CheckpointMismatch) as caught:
        home.train(launch, model=normed_otherwise, **SHORT)
    refused(home, launch, caught.value, "model.norm", "momentum=0.5", "momentum=0.1")


def refused(
    home: Home, launch: Launch, error: CheckpointMismatch, field: str, mine: str, theirs: str
) -> None:
    text = str(error)
    assert error.facts["field"] == field
    assert text.index(mine) < text.index(theirs)
    assert "Put the model's" in text and "--mode weights" in text
    assert home.segment(launch.branch_id).started_at is None


def test_declared_dropout_and_freezing_are_no_other_modules(home: Home) -> None:
    loops.train(home, **SHORT)
    launch = home.order(home.node(2), {"dropout": 0.5, "frozen": "0"})
    loops.train(home, launch, model=lambda: loops.net(0.5), **SHORT)
    again = home.order(home.fork(launch))
    loops.train(home, again, **SHORT)
    assert home.final(again).state_digest == home.final(launch).state_digest


def test_a_node_of_an_earlier_version_says_nothing_of_modules(home: Home) -> None:
    loops.train(home, **SHORT)
    segment = home.segment()
    assert segment.script is not None
    kept = {name: v for name, v in segment.script.items() if name != model_repr.MODULES}
    with home.database.transaction() as connection:
        connection.execute(tables.segments.update().values(script=kept))
    launch = home.order(home.node(2))
    loops.train(home, launch, model=with_tanh, **SHORT)
    assert home.final(launch).step == 4
