"""The example of a plain loop needs no download, and holds out the same images every time."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
import torch

from branchtrack.examples import digits


def test_images_are_split_the_same_way_every_time() -> None:
    torch.manual_seed(1)
    train, test = digits.digits()
    torch.manual_seed(2)
    again, _ = digits.digits()
    assert (len(train), len(test)) == (1498, 299)
    assert torch.equal(train[0][0], again[0][0])
    assert float(train[0][0].max()) <= 1.0


def test_the_network_has_a_score_for_each_digit() -> None:
    assert digits.network()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def missing(name: str, *arguments: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return load(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SystemExit, match="pip install scikit-learn"):
        digits.digits()
