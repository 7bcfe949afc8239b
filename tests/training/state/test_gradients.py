"""Gradients that wait for the rest of an update are state; zeros and leftovers are not."""

from __future__ import annotations

import pytest
import torch

from branchtrack.errors import CheckpointMismatch
from branchtrack.training.state import gradients


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))


def test_a_model_without_gradients_has_none_that_wait() -> None:
    model = net()
    assert gradients.pending(model) == {}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert gradients.pending(model) == {}


def test_one_that_is_not_zero_makes_all_of_them_state() -> None:
    model = net()
    model[0].weight.grad = torch.zeros_like(model[0].weight)
    model[1].bias.grad = torch.full_like(model[1].bias, float("nan"))
    assert gradients.pending(model).keys() == {"grad/0.weight", "grad/1.bias"}


def test_a_sparse_gradient_is_looked_into() -> None:
    model = torch.nn.Embedding(3, 2, sparse=True)
    model(torch.tensor([1])).sum().backward()
    assert gradients.pending(model).keys() == {"grad/weight"}
    indices, values = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 2)
    model.weight.grad = torch.sparse_coo_tensor(indices, values, (3, 2), check_invariants=True)
    assert gradients.pending(model) == {}


def test_a_restore_sets_every_gradient_or_its_absence() -> None:
    model, other = net(), net()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    for parameter in other.parameters():
        parameter.grad = torch.full_like(parameter, 9.0)
    stored = gradients.pending(model)
    gradients.restore(other, {**stored, "model/0.weight": torch.zeros(1)})
    assert torch.equal(other[0].weight.grad, model[0].weight.grad)
    assert other[0].weight.grad is not stored["grad/0.weight"]
    assert other[0].bias.grad is None and other[1].weight.grad is None


def test_a_gradient_of_no_parameter_is_refused() -> None:
    with pytest.raises(CheckpointMismatch, match="parameters with gradients"):
        gradients.restore(net(), {"grad/2.weight": torch.ones(1)})
