"""A small CNN that learns scikit-learn's digits.

    python -m branchtrack.examples.studies.tasks.digits --lr 3e-3

``--size`` is the number of its first convolution's channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset, random_split

from branchtrack.examples.studies.tasks import loop, options

_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def parts() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return images (n, 1, 8, 8) of 0 to 1 and their labels (n); always the same split."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("This training needs scikit-learn: branchtrack[studies]") from None
    images, labels = load_digits(return_X_y=True)
    whole = TensorDataset(
        torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)
    )
    split = random_split(whole, list(_SHARES.values()), torch.Generator().manual_seed(0))
    return {name: whole[subset.indices] for name, subset in zip(_SHARES, split, strict=True)}


def network(channels: int) -> nn.Module:
    """Return a network of two convolutions and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * 4 * 4, 10),
    )


def loss(model: nn.Module, batch: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean loss of images (n, 1, 8, 8) with their labels (n)."""
    images, labels = batch
    return cross_entropy(model(images), labels)


def main() -> None:
    chosen = options.parser(__doc__, name="digits", size=16, batch=32, lr=3e-3).parse_args()
    loop.train(loop.task_of(parts(), network, loss, chosen), chosen)


if __name__ == "__main__":
    main()
