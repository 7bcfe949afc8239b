"""Which of the owners of settings draw from shards, and what is asked of all of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import branchtrack
from branchtrack.core.shards.composition import SETTING
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.dataset_settings import DataSettings
from branchtrack.training.settings.shard_datasets import ShardDatasets


def test_only_datasets_with_shards_count() -> None:
    live = branchtrack.LiveDataset({"a": [1, 2], "b": [3]})
    shards = ShardDatasets([SimpleNamespace(), live, live])
    assert shards and shards.datasets == [live]
    assert list(shards.documents()) == [live.composition.digest]
    value = shards.changed({"weights": {"a": 5}})[SETTING]
    assert value.startswith("a:5 b:1 @") and live.composition.value.startswith("a b @")


def test_samples_are_counted_until_they_are_taken() -> None:
    live = branchtrack.LiveDataset({"a": [1, 2]}, length=5)
    shards = ShardDatasets([live])
    assert [live[index] for index in range(5)] and shards.take_drawn() == {
        live.composition.shards[0].key: 5
    }
    assert shards.take_drawn() == {}


def test_without_shards_a_change_is_refused() -> None:
    none = ShardDatasets([])
    assert not none and none.documents() == {} and none.take_drawn() == {}
    with pytest.raises(InvalidInput, match="LiveDataset"):
        none.changed({"remove": ["a"]})


def test_a_training_has_one_dataset_with_shards() -> None:
    several = [branchtrack.LiveDataset({"a": [1]}), branchtrack.LiveDataset({"b": [2]})]
    with pytest.raises(InvalidInput, match="declare data.shards"):
        DataSettings(SimpleNamespace(datasets=several))
