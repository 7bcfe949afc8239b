"""The weighted average of two models' weights, computed in float64 and rounded once.

It knows no node and no live model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

#: Elements that are averaged at a time: a float64 copy of a whole large tensor is never made.
_CHUNK = 1 << 22


def average(a: torch.Tensor, b: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Return ``weights[0] * a + weights[1] * b`` in the dtype of ``a``; both on the host.

    A tensor with the weight 0 counts for nothing, whatever it holds.
    """
    result = torch.empty_like(a, memory_format=torch.contiguous_format)
    flat_a, flat_b, flat = a.reshape(-1), b.reshape(-1), result.view(-1)
    for first in range(0, flat.numel(), _CHUNK):
        piece = slice(first, first + _CHUNK)
        terms = [
            tensor[piece].to(torch.float64) * weight
            for weight, tensor in zip(weights, (flat_a, flat_b), strict=True)
            if weight
        ]
        flat[piece] = sum(terms[1:], terms[0]).to(a.dtype)
    return result


def averaged(
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
    names: Collection[str],
    weights: Sequence[float],
) -> dict[str, torch.Tensor]:
    """Return the tensors of ``a``, those in ``names`` averaged with the ones of ``b``."""
    return {
        name: average(tensor, b[name], weights) if name in names else tensor
        for name, tensor in a.items()
    }
