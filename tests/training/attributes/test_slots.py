"""Where objects keep state: in slots, containers, classes, and modules of others."""

from __future__ import annotations

from collections import Counter, deque, namedtuple
from dataclasses import dataclass

import torch

from branchtrack.training.attributes.changes import Attributes
from tests.training.attributes.test_changes import Script, attributes


@dataclass(slots=True)
class Slotted:
    """Its attributes are in slots."""

    count: int = 0


class Called:
    """An object that can be called, with a count."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count


class Loss(torch.nn.Module):
    """A module without any tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0


Pair = namedtuple("Pair", "a b")


def hidden(count: int) -> Script:
    """An object with state in unusual places."""
    moved = torch.zeros(1000)
    moved[13] = count
    head = torch.nn.Linear(2, 1)
    head.bias.data.fill_(count)
    return Script(
        timestep=count,
        best_at=count,
        moved=moved,
        modules={"ema": head},
        own=[Called()],
        slotted=Slotted(count),
        deep=Script(one=Script(two=Script(three=count))),
        loss=Loss(),
        pair=Pair(count, 1),
        seen=Counter({"a": count}),
        window=deque([count], maxlen=2),
        near=float(5000 + count),
        blob=bytes([count]),
    )


def test_state_in_unusual_places_is_found_and_given_back() -> None:
    owner, after = hidden(0), hidden(3)
    found = attributes(owner)
    after.own[0].count, after.loss.scale = 3, 0.5
    vars(owner).update(vars(after))
    owner.lazy = deque([1], maxlen=4)
    again = hidden(0)
    other = attributes(again)
    state = found.state()
    other.restore(state)
    assert other.differing(state) == {}
    assert (again.timestep, again.best_at, again.near, again.blob) == (3, 3, 5003.0, b"\x03")
    assert again.moved[13] == 3 and again.modules["ema"].bias.item() == 3
    assert again.own[0].count == 3 and again.slotted.count == 3 and again.loss.scale == 0.5
    assert again.deep.one.two.three == 3 and again.pair == Pair(3, 1) and again.pair.a == 3
    assert again.seen == Counter({"a": 3}) and again.lazy.maxlen == 4


def test_a_module_that_shares_a_part_of_the_model_keeps_its_own() -> None:
    model = torch.nn.Linear(2, 2)
    critic = torch.nn.Sequential(model, torch.nn.Linear(2, 1))
    found = Attributes({"trainer": Script(critic=critic, whole=model)}, model)
    critic[1].weight.data.add_(1)
    assert list(found.state()) == ["trainer.critic"]
