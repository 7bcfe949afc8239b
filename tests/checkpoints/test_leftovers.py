"""Files of processes that are gone are removed, and none that may still be named."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from branchtrack import processes
from branchtrack.checkpoints import leftovers
from branchtrack.checkpoints.packs import Store
from tests.checkpoints.tensors_for_tests import tensor

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def gone() -> str:
    """The name of a process of this machine that runs no more."""
    host, pid, start = processes.own_name().split(":")
    return f"{host}:{pid}:{int(start) - 1}"


def aged_pack(store: Store, process: str, seconds: float, value: float = 1.0) -> str:
    array = np.full(3, value, "<f4")
    pack = store.put([tensor("model/w", array)], leftovers.owner(process, "db"))
    path = Path(store.describe(pack.id))
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    return pack.id


def test_a_pack_that_a_gone_process_left_unnamed_is_removed(store: Store, gone: str) -> None:
    pack = aged_pack(store, gone, HOUR)
    heartbeats = {gone: time.time() - HOUR}
    assert leftovers.remove_unnamed(store, (), "db", heartbeats) == [pack]
    assert leftovers.remove_unnamed(store, (), "db", heartbeats) == []


def test_a_pack_that_is_named_or_of_another_database_stays(store: Store, gone: str) -> None:
    pack = aged_pack(store, gone, HOUR)
    heartbeats = {gone: time.time() - HOUR}
    assert leftovers.remove_unnamed(store, {pack}, "db", heartbeats) == []
    assert leftovers.remove_unnamed(store, (), "another", heartbeats) == []
    assert store.exists(pack)


def test_a_pack_that_came_after_the_database_was_copied_stays(store: Store, gone: str) -> None:
    aged_pack(store, gone, HOUR)
    assert leftovers.remove_unnamed(store, (), "db", {gone: time.time() - HOUR - 60}) == []
    assert leftovers.remove_unnamed(store, (), "db", {}) == []


def test_a_pack_of_a_process_elsewhere_stays_for_a_day(store: Store) -> None:
    elsewhere = "another-machine:12:34"
    heartbeats = {elsewhere: time.time()}
    fresh = aged_pack(store, elsewhere, HOUR)
    old = aged_pack(store, elsewhere, DAY + HOUR, 2.0)
    assert leftovers.remove_unnamed(store, (), "db", heartbeats) == [old]
    assert store.exists(fresh)


def test_a_pack_that_cannot_be_read_stays(store: Store, gone: str) -> None:
    pack = aged_pack(store, gone, HOUR)
    path = Path(store.describe(pack))
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    os.utime(path, (time.time() - HOUR, time.time() - HOUR))
    assert leftovers.remove_unnamed(store, (), "db", {gone: time.time()}) == []
    assert path.exists()
