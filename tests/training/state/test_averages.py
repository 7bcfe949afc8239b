"""Averages are exact to the last bit of their dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from branchtrack.training.state import averages


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_an_average_is_that_of_float64_rounded_once(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(5, 7).to(dtype), torch.randn(5, 7).to(dtype)
    expected = 0.3 * a.double().numpy() + 0.7 * b.double().numpy()
    average = averages.average(a, b, (0.3, 0.7))
    assert average.dtype == dtype and average.shape == a.shape
    assert torch.equal(average, torch.from_numpy(np.asarray(expected)).to(dtype))


def test_a_large_tensor_is_averaged_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.arange(10.0).reshape(2, 5), torch.arange(10.0, 20.0).reshape(2, 5)
    monkeypatch.setattr(averages, "_CHUNK", 3)
    assert torch.equal(averages.average(a, b, (0.5, 0.5)), a + 5)


def test_a_weight_of_zero_counts_for_nothing_even_if_the_other_is_infinite() -> None:
    a, b = torch.tensor([1.5, -0.0]), torch.tensor([float("inf"), float("nan")])
    assert torch.equal(averages.average(a, b, (1.0, 0.0)), a)
    assert averages.average(torch.tensor(2.0), torch.tensor(4.0), (0.5, 0.5)).shape == ()
    assert averages.average(torch.empty(0, 3), torch.empty(0, 3), (0.5, 0.5)).shape == (0, 3)


def test_only_the_named_tensors_are_averaged() -> None:
    a = {"w": torch.zeros(2), "n": torch.tensor(3)}
    b = {"w": torch.ones(2)}
    result = averages.averaged(a, b, ["w"], (0.5, 0.5))
    assert result["w"].tolist() == [0.5, 0.5] and result["n"] is a["n"]
