"""What the first update after a node is made of, and what two of them have to say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from branchtrack.training.session.proof import (
    Affects,
    Witness,
    compare,
    weights_digest,
)

NOTHING = Affects((), (), fresh=False)
SEEN = {"step": 5, "batch": "ab", "losses": ["0x1.0p+0", "0x1.8p+0"], "before_step": 1}


@dataclass
class Rows:
    """A batch of a class of its own."""

    x: torch.Tensor
    about: str = "rows"


def batch_digest(batch: Any) -> str | None:
    """What a witness notes of one batch."""
    witness = Witness([])
    witness.take([batch])
    return witness.close(1)["batch"]


def test_equal_batches_have_equal_digests_and_others_have_not() -> None:
    def batch(value: float) -> dict[str, Any]:
        return {"x": torch.tensor([value, 1.0]), "y": [np.float32(2), ("text", None)], "n": 3}

    assert batch_digest(batch(1.0)) == batch_digest(batch(1.0)) != batch_digest(batch(2.0))
    assert batch_digest(Rows(torch.ones(2))) != batch_digest(Rows(torch.zeros(2)))
    assert batch_digest(torch.ones(4)) != batch_digest(torch.ones(2, 2))
    assert batch_digest(torch.ones(2)) != batch_digest(torch.ones(2, dtype=torch.float64))
    assert batch_digest([1, 2]) != batch_digest([2, 1])
    sparse = torch.eye(3).to_sparse()
    assert batch_digest(sparse) == batch_digest(torch.eye(3).to_sparse())


def test_a_loss_is_whatever_backward_is_called_on() -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    witness = Witness([])
    (weight * 3).sum().backward()
    witness.before_step()
    torch.autograd.backward([(weight * 5).sum()])
    seen = witness.close(7)
    assert seen["losses"] == [(6.0).hex(), (10.0).hex()] and seen["before_step"] == 1
    assert (seen["step"], seen["batch"]) == (7, None)
    assert weight.grad is not None and weight.grad.item() == 8.0
    (weight * 3).sum().backward()
    assert len(witness._losses) == 2


def test_the_first_loss_of_a_closure_does_not_depend_on_the_step_that_calls_it() -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    witness = Witness([])
    witness.before_step(closure=True)
    for factor in (3, 5):
        (weight * factor).sum().backward()
    assert witness.close(7)["before_step"] == 1
    unused = Witness([])
    unused.before_step(closure=True)
    assert unused.close(7)["before_step"] == 0


def test_nothing_is_left_behind_in_torch() -> None:
    original = torch.autograd.backward
    first = Witness([])
    first.detach()
    second = Witness([], first)
    second.close(1)
    assert torch.autograd.backward is original


def test_what_was_seen_before_the_loop_goes_on_does_not_count() -> None:
    witness = Witness([])
    torch.ones(1, requires_grad=True).sum().backward()
    witness.take([1])
    witness.restart()
    assert witness.close(1) == {
        "step": 1,
        "batch": None,
        "losses": [],
        "before_step": 0,
        "numbers": {},
        "weights": None,
    }


def other(**changed: Any) -> dict[str, Any]:
    """An update beside `SEEN`."""
    return {**SEEN, **changed}


@pytest.mark.parametrize(
    ("declared", "seen", "state"),
    [
        ((), SEEN, "equal"),
        ((), other(batch="cd"), "differs"),
        ((), other(losses=["0x1.0p+0", "0x1.9p+0"]), "differs"),
        (("lr",), other(losses=["0x1.0p+0", "0x1.9p+0"]), "equal"),
        (("generator.lr",), other(losses=["0x1.1p+0", "0x1.8p+0"]), "differs"),
        (("max_grad_norm", "weight_decay"), other(losses=["0x1.1p+0"]), "differs"),
        (("rho",), SEEN, "equal"),
        (("dropout",), other(losses=["0x1.1p+0"]), "explained"),
        (("dropout",), other(batch="cd"), "differs"),
        (("batch_size",), other(batch="cd", losses=["0x1.1p+0"]), "explained"),
        (("seed", "reshuffle"), other(batch="cd", losses=["0x1.1p+0"]), "explained"),
        (("stop_at",), other(losses=["0x1.0p+0", "0x1.9p+0"]), "differs"),
        (("stop_at",), SEEN, "equal"),
        (("data.noise",), other(batch="cd"), "explained"),
        (("smoothing",), other(losses=["0x1.1p+0"]), "explained"),
        ((), other(losses=[]), "differs"),
        ((), other(batch=None), "differs"),
    ],
)
def test_a_difference_is_explained_by_what_affects_it_alone(
    declared: tuple[str, ...], seen: dict[str, Any], state: str
) -> None:
    affects = Affects(declared, ("lr", "rho"), fresh=False)
    assert compare(SEEN, seen, affects)["state"] == state


def test_what_nobody_recorded_or_nobody_can_see_is_not_known() -> None:
    assert compare(None, SEEN, NOTHING)["state"] == "unknown"
    blind = other(losses=[])
    assert compare(blind, blind, NOTHING)["state"] == "unknown"
    without_batch = other(batch=None)
    assert compare(without_batch, without_batch, NOTHING)["state"] == "equal"
    assert compare(SEEN, other(batch="cd"), Affects((), (), fresh=True))["state"] == "explained"


def test_weights_are_compared_where_no_declared_change_moves_them() -> None:
    before, after = other(weights="ab"), other(weights="cd")
    assert compare(before, before, NOTHING)["weights"] == "equal"
    found = compare(before, after, NOTHING)
    assert (found["state"], found["weights"]) == ("differs", "differs")
    assert found["differences"] == [{"name": "weights", "expected": "ab", "found": "cd"}]
    for affects in (Affects(("lr",), ("lr",), fresh=False), Affects((), (), fresh=True)):
        assert compare(before, after, affects)["weights"] == "unknown"
    assert compare(SEEN, after, NOTHING)["state"] == "equal"


def test_a_digest_of_weights_looks_into_every_parameter_that_is_trained() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3, dtype=torch.bfloat16))
    model[0].bias.requires_grad_(False)
    before = weights_digest(model)
    model[0].bias.data += 1
    assert weights_digest(model) == before
    model[1].weight.data[0, 0] += 1
    assert weights_digest(model) != before
