"""Buckets of many segments: what is shown is read, and is what all points would say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from branchtrack.checkpoints.packs import Store
from branchtrack.db import metrics
from branchtrack.db.browsing import pyramids
from branchtrack.db.browsing.buckets import Buckets
from branchtrack.db.browsing.tables import metric_pyramids
from branchtrack.db.engine import Database
from branchtrack.db.metrics import Series
from branchtrack.db.views.course_series import read_buckets
from tests.db.browsing.test_buckets import assert_equal
from tests.trees_for_tests import make_tree

_BLOCKS = 20
_LAST = _BLOCKS * 1024 + 300


@pytest.fixture
def segment(database: Database, store: Store) -> str:
    """The id of a segment without points."""
    return make_tree(database, store).segment("main").id


@pytest.fixture
def long(database: Database, segment: str) -> str:
    """A segment with twenty blocks, some broken points in them, and a tail."""
    values = np.random.default_rng(0).normal(size=_LAST)
    values[2000:2100] = np.nan
    values[5000] = np.inf
    log(database, segment, range(1, _LAST + 1), values)
    return segment


def log(database: Database, segment: str, steps: Any, values: Any, name: str = "loss") -> None:
    with database.transaction() as connection:
        points = zip(steps, values, strict=True)
        metrics.append(connection, segment, [(name, s, float(v), 1e9 + s) for s, v in points])


def whole(database: Database, segment: str) -> Series:
    with database.read() as connection:
        return metrics.read(connection, [segment], "loss")[segment]


def read(database: Database, segment: str, **options: Any) -> Buckets:
    with database.read() as connection:
        return read_buckets(connection, [segment], ["loss"], **options)["loss"][segment]


def expected(series: Series, buckets: Buckets) -> Buckets:
    """What the points say of the stretches that the buckets cover."""
    starts = np.searchsorted(series.steps, buckets.first)
    return Buckets.of_points(series.steps, series.values, series.times).reduced(starts)


@pytest.fixture
def bytes_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fill with the bytes of arrays and pyramids as they are read, a number a row."""
    sizes = list[int]()
    from branchtrack.db.views import course_series

    count: Callable[..., Any] = course_series._block

    def block(*arrays: bytes) -> Series:
        sizes.append(sum(map(len, arrays)))
        series: Series = count(*arrays)
        return series

    monkeypatch.setattr(course_series, "_block", block)
    unpacked = pyramids.unpacked

    def pyramid(contents: Any) -> Buckets:
        sizes.extend(map(len, contents))
        return unpacked(contents)

    monkeypatch.setattr(pyramids, "unpacked", pyramid)
    return sizes


def test_a_long_series_comes_in_buckets_and_its_tail_in_points(
    database: Database, long: str, bytes_read: list[int]
) -> None:
    buckets = read(database, long)
    assert buckets.steps.size == _BLOCKS * 1024 // pyramids.SIZE + 300
    assert_equal(buckets, expected(whole(database, long), buckets))
    assert sum(bytes_read) < _BLOCKS * 1024 * 24 / 6


def test_a_short_series_comes_in_points(database: Database, segment: str) -> None:
    log(database, segment, range(4000), np.arange(4000))
    buckets = read(database, segment)
    assert buckets.are_points and buckets.steps.size == 4000
    assert not read(database, segment, few=2).are_points


def test_where_a_branch_leaves_a_segment_its_points_are_read(
    database: Database, long: str, bytes_read: list[int]
) -> None:
    buckets = read(database, long, cuts={long: [3000, 2048, 10**6], "x": [5]})
    series = whole(database, long)
    assert_equal(buckets, expected(series, buckets))
    inside = (buckets.steps > 2048) & (buckets.steps <= 3072)
    assert inside.sum() == 1024
    # A cut between two blocks parts no bucket.
    assert len([size for size in bytes_read if size == 24 * 1024]) == 1
    assert buckets.cut(-1, 3000).steps[-1] == 3000


def test_of_a_window_few_bytes_are_read(
    database: Database, long: str, bytes_read: list[int]
) -> None:
    buckets = read(database, long, window=(10_000, 10_100), lead_in=0)
    assert bytes_read == [24 * 1024]
    assert buckets.are_points and (buckets.steps[0], buckets.steps[-1]) == (9217, 10_240)
    bytes_read.clear()
    read(database, long, window=(10_000, 10_100))
    assert len(bytes_read) == 3
    high = read(database, long, highs={long: 3000})
    assert high.steps[-1] == 3072
    assert read(database, long, window=(_LAST - 10, None), lead_in=0).steps[-1] == _LAST


def test_fine_steps_come_as_points_among_buckets(
    database: Database, long: str, bytes_read: list[int]
) -> None:
    buckets = read(database, long, fine=(5000, 7000))
    assert_equal(buckets, expected(whole(database, long), buckets))
    assert buckets.cut(4999, 7000).are_points and not buckets.are_points
    assert bytes_read.count(24 * 1024) == 3


def test_averages_in_a_window_are_those_of_the_whole(database: Database, long: str) -> None:
    every = read(database, long, few=10**6)
    window = read(database, long, window=(10_000, 10_100)).cut(9999, 10_100)
    lead = read(database, long, window=(10_000, 10_100))
    at = np.searchsorted(every.steps, window.steps)
    for weight in (0.6, 0.9, 0.99):
        smooth = lead.smooth(weight)[np.searchsorted(lead.steps, window.steps)]
        np.testing.assert_allclose(smooth, every.smooth(weight)[at], atol=1e-5)


def test_blocks_without_pyramids_say_the_same(
    database: Database, long: str, bytes_read: list[int]
) -> None:
    before = read(database, long, cuts={long: [3000]})
    with database.transaction() as connection:
        gone = metric_pyramids.c.first_step > 6000
        connection.execute(metric_pyramids.delete().where(gone))
    assert_equal(read(database, long, cuts={long: [3000]}), before)
    with database.transaction() as connection:
        connection.execute(metric_pyramids.delete())
    assert_equal(read(database, long, cuts={long: [3000]}), before)


def test_pyramids_of_another_version_are_passed_over(database: Database, long: str) -> None:
    with database.transaction() as connection:
        other = metric_pyramids.update().where(metric_pyramids.c.first_step == 1025)
        connection.execute(other.values(content=b"\x09\x00 something newer"))
    buckets = read(database, long)
    assert_equal(buckets, expected(whole(database, long), buckets))
    assert ((buckets.steps > 1024) & (buckets.steps <= 2048)).sum() == 1024


@pytest.mark.parametrize("again", [range(100, 110), range(3000, 7000, 3), range(1, _LAST, 7)])
def test_steps_that_are_logged_again_have_their_newest_value(
    database: Database, long: str, again: range
) -> None:
    log(database, long, again, np.arange(len(again)) + 50.0)
    series = whole(database, long)
    buckets = read(database, long)
    assert int((buckets.count + buckets.broken).sum()) == series.steps.size
    assert_equal(buckets, expected(series, buckets))
    window = read(database, long, window=(3000, 3100), lead_in=0).cut(2999, 3100)
    np.testing.assert_array_equal(window.values(), series.cut(2999, 3100).values)


def test_all_segments_and_names_take_two_statements(
    database: Database, store: Store, long: str
) -> None:
    log(database, long, range(10), np.ones(10), "lr")
    statements = list[str]()

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    with database.read() as connection:
        event.listen(connection, "before_cursor_execute", note)
        buckets = read_buckets(connection, [long, "x"], ["loss", "lr", "none"], cuts={long: [50]})
        event.remove(connection, "before_cursor_execute", note)
        assert read_buckets(connection, [], ["loss"]) == {}
    assert (
        buckets.keys() == {"loss", "lr"}
        and sum(sql.startswith("SELECT") for sql in statements) == 2
    )
