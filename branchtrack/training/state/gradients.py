"""Gradients that wait for the rest of an update: they are state, others are not.

A control point in the middle of an accumulation has some. So has one after an update whose loop
clears them only before the next: the two cannot be told apart, and a restore with them is exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from branchtrack.training.state.mismatch import must_match

_ROLE = "grad/"


def pending(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the gradients of a model as ``grad/<parameter>``; none if all of them are zero."""
    gradients = {
        f"{_ROLE}{name}": parameter.grad.detach()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return gradients if any(_is_any(gradient) for gradient in gradients.values()) else {}


def restore(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore every parameter's gradient, or its absence.

    Raises:
        CheckpointMismatch: a gradient of a parameter that the model does not have.
    """
    names = {name.removeprefix(_ROLE) for name in tensors if name.startswith(_ROLE)}
    parameters = dict(model.named_parameters())
    unknown = sorted(names - parameters.keys())
    must_match("the parameters with gradients", [], unknown)
    for name, parameter in parameters.items():
        if name not in names:
            parameter.grad = None
            continue
        stored = tensors[f"{_ROLE}{name}"]
        parameter.grad = torch.empty_like(parameter, dtype=stored.dtype, requires_grad=False)
        parameter.grad.copy_(stored)


def _is_any(gradient: torch.Tensor) -> bool:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool(values.any())
