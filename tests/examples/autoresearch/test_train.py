"""The script that the agent changes."""

from __future__ import annotations

import torch

from branchtrack.examples.autoresearch import train


def test_training_and_held_out_windows_are_apart() -> None:
    training, held_out = train.windows()
    assert training.shape[1] == held_out.shape[1] == train.CONTEXT + 1
    assert 0 < len(held_out) <= 256 and len(training) > 8 * len(held_out)


def test_a_model_says_the_next_byte() -> None:
    torch.manual_seed(0)
    model = train.Model()
    batch = torch.randint(0, 256, (2, train.CONTEXT + 1))
    assert model(batch[:, :-1]).shape == (2, train.CONTEXT, 256)
    assert 5.0 < train.loss_of(model, batch).item() < 6.5
