from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from branchtrack.training import rng
from branchtrack.training.settings.live import Live
from branchtrack.training.state import shares, snapshots
from branchtrack.training.state.buffers import Buffers
from branchtrack.training.state.snapshots import Snapshot


def live() -> Live:
    """A model with a buffer, and an optimizer that has made a step."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return Live(model, optimizer, None, SimpleNamespace(), [True])


def joined(first: Snapshot, share: Snapshot, rank: int) -> Snapshot:
    """A state of two ranks as it is read back."""
    state = {**first.state, shares.KEY: {"size": 2, str(rank): share.state}}
    return Snapshot({**first.tensors, **share.tensors}, state, first.param_groups)


def test_the_share_of_a_rank_has_what_is_its_own_and_nothing_that_all_have() -> None:
    share = shares.capture(live(), {"position": 3}, Buffers(), 1)
    names = share.tensors.keys()
    assert all(name.startswith("ranks/1/") for name in names)
    assert "ranks/1/model/1.running_mean" in names
    assert not any("weight" in name for name in names)
    assert share.state["loop"] == {"position": 3}
    assert share.state.keys() == {"rng", "loop"}


def test_gradients_that_wait_are_the_ranks_own() -> None:
    objects = live()
    objects.model[0].weight.grad = torch.ones(3, 2)  # type: ignore[index,union-attr]
    share = shares.capture(objects, {}, Buffers(), 1)
    assert torch.equal(share.tensors["ranks/1/grad/0.weight"], torch.ones(3, 2))


def test_each_rank_gets_its_own_generators_position_and_buffers_back() -> None:
    torch.manual_seed(5)
    first = snapshots.capture(live(), {"position": 1}, Buffers())
    objects: Any = live()
    objects.model[1].running_mean.fill_(7.0)
    torch.manual_seed(9)
    share = shares.capture(objects, {"position": 2}, Buffers(), 1)
    expected = rng.capture()["torch"]
    stored = joined(first, share, 1)
    own, other = shares.of_rank(stored, 1), shares.of_rank(stored, 0)
    assert (snapshots.loop_state(own)["position"], snapshots.loop_state(other)["position"]) == (
        2,
        1,
    )
    assert torch.equal(snapshots.random_state(own)["torch"], expected)
    assert bool((own.tensors["model/1.running_mean"] == 7.0).all())
    assert not bool((other.tensors["model/1.running_mean"] == 7.0).all())


def test_a_rank_that_the_training_did_not_have_draws_numbers_of_its_own_each_time() -> None:
    stored = snapshots.capture(live(), {}, Buffers())
    drawn = []
    for rank in (0, 1, 2, 1):
        rng.restore(snapshots.random_state(shares.of_rank(stored, rank)))
        drawn.append(float(torch.rand(())))
    assert drawn[1] == drawn[3]
    assert len(set(drawn)) == 3


def test_a_share_belongs_to_its_rank_alone() -> None:
    assert shares.is_of_another("ranks/1/rng/torch", 2)
    assert not shares.is_of_another("ranks/1/rng/torch", 1)
    assert not shares.is_of_another("model/w", 1)
    assert shares.is_of_another("ranks/12/loop", 1)
