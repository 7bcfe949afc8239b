"""A point that was removed from the tail of a series is noticed, whatever is written afterwards."""

from __future__ import annotations

import random

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.db import metrics, seals, tails
from branchtrack.db.engine import Database
from branchtrack.db.tables import metric_blocks, metric_points, metric_series
from tests.trees_for_tests import make_tree


@pytest.fixture
def segment(database: Database, store: Store) -> str:
    """The id of a segment without points."""
    return make_tree(database, store).segment("main").id


def add(
    database: Database, segment: str, steps: range | list[int], known: metrics.Known | None = None
) -> None:
    with database.transaction() as connection:
        points = [(name, s, random.random(), 1e9) for s in steps for name in ("loss", "lr")]
        metrics.append(connection, segment, points, known)


def broken(database: Database) -> list[str]:
    """The ids of the series that are not as they were written."""
    with database.read() as connection:
        return [key for key, _ in tails.broken(connection)]


@pytest.mark.parametrize("remembers", [True, False])
def test_tails_are_whole_however_they_were_written(
    database: Database, segment: str, remembers: bool
) -> None:
    known = metrics.Known() if remembers else None
    batches = [range(700), range(650, 1100), [1090, 3, 2000], range(1000, 2300), [-5, 1]]
    for steps in batches:
        add(database, segment, steps, known)
        assert broken(database) == []


@pytest.mark.parametrize("then", [range(0), range(500, 600), range(490, 2100)])
@pytest.mark.parametrize("remembers", [True, False])
def test_a_removed_point_is_noticed_for_good(
    database: Database, segment: str, then: range, remembers: bool
) -> None:
    known = metrics.Known() if remembers else None
    add(database, segment, range(500), known)
    with database.transaction() as connection:
        connection.execute(metric_points.delete().where(metric_points.c.step == 77))
    assert len(broken(database)) == 2
    add(database, segment, then, known)
    assert len(broken(database)) == 2


def test_what_was_changed_before_it_came_into_a_block_is_noticed(
    database: Database, segment: str
) -> None:
    add(database, segment, range(1500))
    with database.transaction() as connection:
        loss = metric_points.c.series_id == 1
        connection.execute(metric_points.update().where(loss).values(value=7.0))
        connection.execute(metric_blocks.delete().where(metric_blocks.c.series_id == 2))
    add(database, segment, range(1500, 2500))
    assert broken(database) == ["1"]
    with database.read() as connection:
        sealed = connection.execute(metric_series.select()).all()
    assert [row.sealed for row in sealed] == [2048, 2048], "so a lost block is missed for good"


def test_a_series_whose_seal_covers_its_row_alone_is_judged_once_it_is_written(
    database: Database, segment: str
) -> None:
    add(database, segment, range(10))
    with database.transaction() as connection:
        connection.execute(metric_points.delete().where(metric_points.c.step == 7))
        for series_id in (1, 2):
            seals.renew(connection, metric_series, series_id)
    assert broken(database) == []
    add(database, segment, range(10, 20))
    assert broken(database) == []
    with database.transaction() as connection:
        connection.execute(metric_points.delete().where(metric_points.c.step == 8))
    assert len(broken(database)) == 2


def test_every_series_is_sealed_with_its_tail_at_once(database: Database, segment: str) -> None:
    add(database, segment, range(10))
    columns = metric_series.c.keys()
    with database.transaction() as connection:
        connection.execute(metric_points.delete().where(metric_points.c.step == 7))
        tails.seal_all(connection, columns)
    assert broken(database) == []
    with database.transaction() as connection:
        connection.execute(metric_points.delete())
    assert len(broken(database)) == 2
