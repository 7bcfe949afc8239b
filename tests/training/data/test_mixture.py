"""A mixture of datasets: what its items are, and that its weights are settings."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import pytest
from torch.utils.data import DataLoader, IterableDataset

import branchtrack
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.dataset_settings import DataSettings

SOURCES = {"code": list(range(100)), "prose": list(range(1000, 1300))}


def mixed(**given: Any) -> Any:
    return branchtrack.mixture(
        SOURCES, **{"weights": {"code": 1, "prose": 3}, "length": 400, **given}
    )


def test_items_come_in_the_proportions_of_the_weights_and_none_twice() -> None:
    found = [mixed()[index] for index in range(400)]
    code = [item for item in found if item < 1000]
    assert 70 < len(code) < 130 and len(set(code)) == min(len(code), 100)
    assert max(Counter(item for item in found if item >= 1000).values()) <= 2
    assert found == [mixed()[index] for index in range(400)] != list(mixed(seed=1))
    assert mixed()[-1] == found[-1]
    with pytest.raises(IndexError):
        mixed()[400]


def test_a_source_of_weight_zero_is_never_drawn_from() -> None:
    one = mixed()
    settings = DataSettings(one)
    settings.write({"data.mixture.code": 0})
    assert settings.values() == {"data.mixture.code": 0.0, "data.mixture.prose": 3.0}
    assert min(one) >= 1000
    settings.write({"data.mixture.prose": 0, "data.mixture.code": 0.5})
    assert max(one) < 1000 and one.weights == {"code": 0.5, "prose": 0.0}


def test_weights_are_refused_together() -> None:
    settings = DataSettings(mixed())
    with pytest.raises(InvalidInput, match="nothing to draw from"):
        settings.write({"data.mixture.code": 0, "data.mixture.prose": 0})
    with pytest.raises(InvalidInput, match="mixture.prose"):
        settings.write({"data.mixture.code": 2, "data.mixture.prose": -1})
    assert settings.values() == {"data.mixture.code": 1.0, "data.mixture.prose": 3.0}


def test_without_weights_and_length_everything_is_drawn_as_it_is_there() -> None:
    one = branchtrack.mixture(SOURCES)
    assert len(one) == 400 and one.weights == {"code": 100.0, "prose": 300.0}


def test_a_copy_and_workers_give_the_same_items() -> None:
    one = mixed()
    one.write_settings({"mixture.code": 3})
    whole = list(one)
    assert list(pickle.loads(pickle.dumps(one))) == whole
    loaded = DataLoader(one, batch_size=50, num_workers=2)
    assert [int(item) for batch in loaded for item in batch] == whole


class Endless(IterableDataset[int]):
    """A stream."""

    def __iter__(self) -> Any:
        return iter(int, 1)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"datasets": {}}, "datasets"),
        ({"datasets": {"a b": [1]}}, "a b"),
        ({"datasets": {"code": []}}, "code"),
        ({"datasets": {"code": Endless()}}, "code"),
        ({"weights": {"code": 0, "prose": 0}}, "nothing to draw from"),
        ({"weights": {"code": -1, "prose": 1}}, "mixture.code"),
    ],
)
def test_what_cannot_be_mixed_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        branchtrack.mixture(**{"datasets": SOURCES, "weights": {"code": 1, "prose": 3}, **given})
