"""A pyramid is what a block's points say; it comes and goes with the block."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from branchtrack.checkpoints.packs import Store
from branchtrack.db import metrics
from branchtrack.db.browsing import pyramids
from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.browsing.tables import metric_pyramids
from branchtrack.db.engine import Database
from branchtrack.db.tables import metric_blocks
from tests.db.browsing.test_buckets import assert_equal, grouped, series
from tests.trees_for_tests import make_tree


@given(
    st.lists(
        st.lists(st.sampled_from([0.5, 1.0, 7.0, math.nan, math.inf]), min_size=1, max_size=200),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=50)
def test_buckets_are_the_same_after_they_were_stored(blocks: list[list[float]]) -> None:
    whole = series([value for block in blocks for value in block])
    parts, first = [], -1
    for block in blocks:
        last = first + 2 * len(block)
        parts.append(grouped(whole.cut(first, last), pyramids.SIZE))
        first = last
    assert_equal(pyramids.unpacked([pyramids.packed(part) for part in parts]), Buckets.join(parts))


def test_a_pyramid_of_another_version_or_cut_short_is_not_read() -> None:
    content = pyramids.packed(grouped(series([1.0, math.nan]), pyramids.SIZE))
    contents = {1: content, 2: b"\x02" + content[1:], 3: content[:-1], 4: b"", 5: content}
    assert pyramids.unreadable(contents) == [2, 3, 4]


@pytest.fixture
def segment(database: Database, store: Store) -> str:
    """The id of a segment without points."""
    return make_tree(database, store).segment("main").id


def test_each_block_has_one_pyramid_also_when_it_is_replaced(
    database: Database, segment: str
) -> None:
    for values in (np.zeros(3000), np.arange(1500)):
        with database.transaction() as connection:
            points = [("loss", step, float(v), 1e9 + step) for step, v in enumerate(values)]
            metrics.append(connection, segment, points)
    with database.read() as connection:
        blocks = connection.execute(select(metric_blocks)).all()
        stored = {
            row.first_step: row.content for row in connection.execute(select(metric_pyramids))
        }
    assert len(blocks) >= 2 and stored.keys() == {block.first_step for block in blocks}
    for block in blocks:
        arrays = (block.steps, "<i8"), (block.values, "<f8"), (block.times, "<f8")
        expected = Buckets.grouped(*(np.frombuffer(*array) for array in arrays), pyramids.SIZE)
        assert_equal(pyramids.unpacked([stored[block.first_step]]), expected)


def test_pyramids_that_are_missing_are_made_as_they_would_have_been(
    database: Database, segment: str
) -> None:
    with database.transaction() as connection:
        for name in ("loss", "lr"):
            points = [(name, step, math.sin(step), 1e9 + step) for step in range(5000)]
            metrics.append(connection, segment, points)
    with database.read() as connection:
        before = {tuple(row) for row in connection.execute(select(metric_pyramids))}
    assert len(before) > 4
    with database.transaction() as connection:
        connection.execute(metric_pyramids.delete())
        assert pyramids.count_missing(connection) == len(before)
        after = pyramids.START
        for _ in before:
            after = pyramids.fill(connection, 1, after)
        assert pyramids.fill(connection, 1, after) == after
        assert pyramids.count_missing(connection) == 0
        assert {tuple(row) for row in connection.execute(select(metric_pyramids))} == before
