"""What tests rely on in the trees that they are given."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from branchtrack.checkpoints.location import open_store
from branchtrack.config import load
from branchtrack.db.schema import open_database
from tests import trees_for_tests
from tests.new_homes import new_database
from tests.trees_for_tests import Tree, make_forked_tree


def forked_tree(home: Path) -> Tree:
    config = load(home)
    new_database(config).close()
    return make_forked_tree(open_database(config), open_store(home / "store"))[0]


def test_a_forked_tree_has_no_branch_that_another_test_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees_for_tests, "_GROWN", {})
    for name in ("grown", "copied", "copied again"):
        tree = forked_tree(tmp_path / name)
        assert set(tree.branches) == {"main", "cooler"}
        tree.branch("other")
        tree.database.close()


def test_a_forked_tree_is_new_however_long_the_tests_have_gone_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees_for_tests, "_GROWN", {})
    first = forked_tree(tmp_path / "grown")
    copied = forked_tree(tmp_path / "copied")
    monkeypatch.setattr(time, "time", lambda: first.run.created_at + 1000.0)
    later = forked_tree(tmp_path / "later")
    assert copied.run.id == first.run.id != later.run.id
    assert later.run.created_at == first.run.created_at + 1000.0
    for tree in (first, copied, later):
        tree.database.close()
