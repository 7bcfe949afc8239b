"""Tensors become packs of the home that they arrive in, and are announced before."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack.bundles import Bundle, tensors
from branchtrack.bundles.tensors import Arrivals
from branchtrack.checkpoints import leftovers
from branchtrack.core.records import Node
from branchtrack.db.storage import thinning
from tests.bundles.homes import Home
from tests.retention.trees import NBYTES, chain
from tests.trees_for_tests import Tree, make_tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture
def path(there: Home, tmp_path: Path) -> Path:
    """A bundle of three nodes with a frozen tensor in common."""
    tree = make_tree(there.database, there.store)
    chain(tree, count=3)
    tree.end("main")
    return there.bundle("demo", tmp_path / "b")


def test_packs_are_named_before_they_are_written_and_are_this_homes(
    here: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = leftovers.owner("host:1:1", "here")
    with Bundle(path) as bundle:
        bundle.check()
        arrivals = Arrivals(here.database, here.store, bundle, owner)
        seen: list[tuple[int, int]] = []
        arrivals.write(bundle.checkpoints, lambda done, total: seen.append((done, total)))
        assert seen == [(3 * NBYTES, 7 * NBYTES), (5 * NBYTES, 7 * NBYTES), (7 * NBYTES,) * 2]
        with here.database.read() as connection:
            assert {name for name, _ in thinning.unread(connection)} == arrivals.packs.keys()
        for name in arrivals.packs:
            assert owner.items() <= here.store.metadata(name).items()
        assert arrivals.missing(bundle.checkpoints) == {}
        arrivals.withdraw()
    assert list(here.store.packs()) == []


def test_a_pack_holds_no_more_than_fits_in_memory(
    here: Home, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "PACK_BYTES", NBYTES)
    here.unbundle(path)
    assert len(list(here.store.packs())) == 7 and here.problems() == []


def test_a_tensor_whose_pack_is_gone_is_written_again(here: Home, path: Path) -> None:
    here.unbundle(path)
    for pack in list(here.store.packs()):
        here.store.delete(pack.id)
    with Bundle(path) as bundle:
        bundle.check()
        arrivals = Arrivals(here.database, here.store, bundle, {})
        assert len(arrivals.missing(bundle.checkpoints)) == 7
