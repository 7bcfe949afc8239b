"""What a home lacks of a bundle is known before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import control
from branchtrack.bundles import Bundle
from branchtrack.bundles.plans import EXTENDED, NEW, WEIGHTS, Plan, plan
from branchtrack.core.records import Node
from branchtrack.db.storage import thinning
from branchtrack.errors import InvalidInput
from tests.bundles.homes import Home
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def planned(home: Home, path: Path, name: str | None = None) -> Plan:
    with Bundle(path) as bundle, home.database.read() as connection:
        bundle.check()
        return plan(connection, bundle, name)


def test_an_empty_home_lacks_all(there: Home, here: Home, forked: Forked, tmp_path: Path) -> None:
    made = planned(here, there.bundle("demo", tmp_path / "b"), "other")
    assert (made.kind, made.name, made.events, made.present) == (NEW, "other", 0, 0)
    assert len(made.lacking) == len(made.tensors) == 4 and made.ends_trust


def test_the_home_that_it_is_from_lacks_nothing(
    there: Home, forked: Forked, tmp_path: Path
) -> None:
    made = planned(there, there.bundle("demo", tmp_path / "b"))
    assert made.kind == WEIGHTS and made.lacking == () and not made.ends_trust


def test_later_events_are_lacking_alone(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    here.unbundle(there.bundle("demo", tmp_path / "first"))
    with there.database.transaction() as connection:
        thinning.set_pinned(connection, forked[1][0], True, "test")
    made = planned(here, there.bundle("demo", tmp_path / "second"))
    assert made.kind == EXTENDED and made.lacking == ()


def test_a_run_that_has_gone_on_here_is_not_extended(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    tree, line = forked
    here.unbundle(there.bundle("demo", tmp_path / "first"))
    with there.database.transaction() as connection:
        thinning.set_pinned(connection, line[0], True, "test")
    path = there.bundle("demo", tmp_path / "second")
    with here.database.transaction() as connection:
        thinning.set_pinned(connection, line[1], True, "test")
    with pytest.raises(InvalidInput, match="--home DIR"):
        planned(here, path)


def test_a_run_that_is_in_the_trash_here_has_to_be_restored_first(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    path = there.bundle("demo", tmp_path / "first", weights=False)
    here.unbundle(path)
    whole = there.bundle("demo", tmp_path / "second")
    control.delete(here.database, "demo", actor="me")
    with pytest.raises(
        InvalidInput, match="in the trash here.*branchtrack restore demo"
    ) as refused:
        planned(here, whole)
    assert "trash --empty demo" in str(refused.value)
    control.restore(here.database, "demo", actor="me")
    assert planned(here, whole).kind == WEIGHTS


def test_the_name_of_a_run_that_is_here_is_not_changed_in_passing(
    there: Home, here: Home, forked: Forked, tmp_path: Path
) -> None:
    path = there.bundle("demo", tmp_path / "b")
    here.unbundle(path)
    with pytest.raises(InvalidInput, match="branchtrack rename demo other"):
        planned(here, path, "other")
    with pytest.raises(InvalidInput, match="letters, digits"):
        planned(here, path, "no name")
