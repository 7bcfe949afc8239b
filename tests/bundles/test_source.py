"""A file that is not a whole bundle is refused before anything is changed."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from branchtrack.bundles import Bundle
from branchtrack.core.records import Node
from branchtrack.db import runs
from branchtrack.errors import InvalidInput
from tests.bundles.files import Rows, forge, forge_rows, members_of
from tests.bundles.homes import Home
from tests.trees_for_tests import Tree


@pytest.fixture
def path(there: Home, forked: tuple[Tree, list[Node]], tmp_path: Path) -> Path:
    """A whole bundle."""
    return there.bundle("demo", tmp_path / "b")


def refused(path: Path) -> str:
    """Why a file is refused."""
    with Bundle(path) as bundle, pytest.raises(InvalidInput) as info:
        bundle.check()
    assert info.value.field == "file" and "Nothing was changed" in str(info.value)
    return info.value.what


def test_a_whole_bundle_says_what_it_holds(path: Path, forked: tuple[Tree, list[Node]]) -> None:
    seen: list[tuple[int, int]] = []
    with Bundle(path) as bundle:
        bundle.check(lambda done, total: seen.append((done, total)))
        assert bundle.run_name == "demo" and bundle.run_id == forked[0].run.id
        assert len(bundle.checkpoints) == 4 and len(bundle.links) > 6
    assert seen[-1] == (1024, 1024)


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none")


def test_every_changed_byte_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    members = members_of(path)
    for name in ("bundle.json", "rows/events.jsonl", "rows/segments.jsonl", list(members)[-1]):
        offset = whole.index(members[name]) + len(members[name]) // 2
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        assert "cannot be unbundled" in refused(path)


@pytest.mark.parametrize("digits", ["9999", "x", ""])
def test_a_newer_schema_is_refused(path: Path, digits: str) -> None:
    forge(path, members_of(path), schema=digits)
    assert "upgrade branchtrack" in refused(path)


def test_an_older_schema_is_read(path: Path) -> None:
    def without(rows: Rows) -> None:
        for row in rows:
            row.pop("logged_seq", None)

    forge_rows(path, "nodes", without)
    forge(path, members_of(path), schema="0006")
    with Bundle(path) as bundle:
        bundle.check()
        assert {row["logged_seq"] for row in bundle.rows("nodes")} == {None}


def first(**values: Any) -> Callable[[Rows], None]:
    """Changes the first row."""
    return lambda rows: rows[0].update(values)


def twice(rows: Rows) -> None:
    rows.append(rows[-1])


@pytest.mark.parametrize(
    ("table", "change", "why"),
    [
        ("runs", first(name="../../etc"), "name"),
        ("runs", first(id="another"), "another run"),
        ("runs", twice, "values that no bundle has"),
        ("branches", first(run_id="ffffffffffffffff"), "another run"),
        ("branches", twice, "twice"),
        ("nodes", twice, "twice"),
        ("nodes", first(parent_id="ffffffffffffffff"), "parent_id is not in it"),
        ("nodes", first(step="one"), "step has a value"),
        ("nodes", first(unknown=1), "other columns"),
        ("nodes", first(changes="{"), "changes is not JSON"),
        ("nodes", lambda rows: rows[0].pop("step"), "step is missing"),
        ("segments", first(id="x" * 17), "id has a value"),
        ("metric_series", first(segment_id="ffffffffffffffff"), "segment_id is not in it"),
        ("metric_points", first(value="much"), "value is not a number"),
        ("metric_points", first(series_id=999), "series_id is not in it"),
        ("checkpoints", first(digest="0" * 64), "does not have its digest"),
        ("checkpoints", first(manifest={"base64": "eA=="}), "too large, or cut off"),
        ("checkpoints", first(thinned="half"), "does not have its digest"),
        ("checkpoints", first(thinned="recipe"), "not those that its checkpoints need"),
        ("events", first(actor="nobody"), "event 1 in it"),
        ("events", lambda rows: rows.pop(1), "event 2 in it"),
        ("events", lambda rows: rows.pop(), "another last event"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(
    path: Path, table: str, change: Callable[[Rows], Any], why: str
) -> None:
    forge_rows(path, table, change)
    with Bundle(path) as bundle, pytest.raises(InvalidInput, match=why):
        bundle.check()


def test_a_checkpoint_that_no_node_has_is_refused(path: Path) -> None:
    # The last node's state is that of another node.
    forge_rows(path, "nodes", lambda rows: rows[3].update(state_digest=rows[0]["state_digest"]))
    assert "belongs to none of its nodes" in refused(path)


def test_a_text_that_is_not_its_own_is_refused(path: Path) -> None:
    body = base64.b64encode(zlib.compress(b"text")).decode()
    row = {"digest": "0" * 64, "body": {"base64": body}, "created_at": 1.0}
    forge_rows(path, "texts", lambda rows: rows.append(row))
    assert "text 000000000000 in it does not have its digest" in refused(path)


def test_a_tensor_that_none_needs_or_that_lacks_is_refused(path: Path) -> None:
    members = members_of(path)
    last = list(members)[-1]
    forge(path, {**members, f"tensors/{'0' * 64}": b"x"})
    assert "tensors are not those" in refused(path)
    forge(path, {name: content for name, content in members.items() if name != last})
    assert "tensors are not those" in refused(path)
    forge(path, {**members, last: members[last][:-1]})
    assert "is not as it was written" in refused(path)


def test_rows_of_a_table_that_never_travels_are_refused(path: Path) -> None:
    forge(path, {**members_of(path), "rows/tokens.jsonl": b"{}\n"})
    assert "other tables" in refused(path) or "members" in refused(path)


def test_a_change_that_only_the_events_know_of_is_refused(
    path: Path, here: Home, forked: tuple[Tree, list[Node]]
) -> None:
    forge_rows(path, "nodes", first(message="never said"))
    with pytest.raises(InvalidInput, match="is not as its events say"):
        here.unbundle(path)
    assert list(here.store.packs()) == [] and here.problems() == []
    with here.database.read() as connection:
        assert runs.names(connection) == set()
    assert json.loads(members_of(path)["bundle.json"])["format"] == "branchtrack-bundle"
