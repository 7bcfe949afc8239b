"""Compositions are recorded once each, before a node can name them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import branchtrack
from branchtrack.db.storage import texts
from branchtrack.training.record import shards
from branchtrack.training.record.shards import ShardRecord
from branchtrack.training.settings.dataset_settings import DataSettings
from tests.training.benches import Bench
from tests.training.homes import Home


@pytest.fixture
def bench(home: Home) -> Iterator[Bench]:
    """A recorder at work."""
    made = Bench(home)
    yield made
    if not made.closed:
        made.close()
    made.database.close()


def test_every_composition_that_a_training_has_had_is_recorded(bench: Bench) -> None:
    data = branchtrack.LiveDataset({"a": [1, 2], "b": [3]})
    settings, record = DataSettings(data), ShardRecord(bench.database, bench.recorder)
    before = data.composition
    record.store(settings)
    data.reweight(a=5)
    record.store(settings)
    record.store(settings)
    record.store(None)
    bench.close()
    with bench.database.read() as connection:
        for composition in (before, data.composition):
            assert texts.get(connection, composition.digest) == composition.document
            assert shards.look_up(connection, composition.digest[:16]) == composition.document
        assert shards.look_up(connection, "0" * 16) == ""
