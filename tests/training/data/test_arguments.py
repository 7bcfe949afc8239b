"""Arguments of datasets: what may be one, and the sentence about what may not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

import branchtrack
from branchtrack.errors import InvalidInput
from branchtrack.training.data.arguments import check_length, check_seed, check_weights

SOURCES = {"code": list(range(9)), "prose": list(range(9))}


@pytest.mark.parametrize("length", [None, 1, 10**12])
def test_a_length_is_a_number_of_items_or_left_out(length: int | None) -> None:
    check_length(length)


@pytest.mark.parametrize("length", [0, -1, 1.0, True, "9"])
def test_any_other_length_is_refused(length: Any) -> None:
    with pytest.raises(InvalidInput, match="a whole number of at least 1, or None") as refused:
        check_length(length)
    assert refused.value.field == "length"


@pytest.mark.parametrize("seed", [0, 10**12])
def test_a_seed_is_a_natural_number(seed: int) -> None:
    check_seed(seed)


@pytest.mark.parametrize("seed", [-1, 1.0, True, None, "9"])
def test_any_other_seed_is_refused(seed: Any) -> None:
    with pytest.raises(InvalidInput, match="a whole number of at least 0") as refused:
        check_seed(seed)
    assert refused.value.field == "seed"


def test_weights_are_one_for_each_name() -> None:
    check_weights({"prose": 1, "code": 3}, ["code", "prose"])
    for weights in ({}, {"code": 1}, {"code": 1, "prose": 1, "chat": 1}):
        with pytest.raises(InvalidInput, match="one for each of code, prose") as refused:
            check_weights(weights, ["code", "prose"])
        assert refused.value.field == "weights"


@pytest.mark.parametrize("dataset", [branchtrack.mixture, branchtrack.LiveDataset])
@pytest.mark.parametrize(
    ("given", "field"),
    [({"length": 0}, "length"), ({"seed": -1}, "seed"), ({"weights": {}}, "weights")],
)
def test_each_dataset_checks_its_own(
    dataset: Callable[..., Any], given: Mapping[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        dataset(SOURCES, **given)
    assert refused.value.field == field
