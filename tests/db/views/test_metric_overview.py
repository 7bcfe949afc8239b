"""Names of metrics with the values of a few, in one statement."""

from __future__ import annotations

import math

from branchtrack.checkpoints.packs import Store
from branchtrack.db.browsing.tables import metric_summaries
from branchtrack.db.engine import Database
from branchtrack.db.views import metric_overview
from tests.web import seeds


def test_infinite_extremes_of_earlier_versions_are_unknown(
    database: Database, store: Store
) -> None:
    line = seeds.Grower(database, store, "digits").line("main", 100)
    line.log("loss", [1, 2], [3.0, -math.inf])
    key = line.segment.id
    best = []
    for _turn in range(2):
        with database.transaction() as connection:
            overview = metric_overview.read(connection, line.grower.run.id, [key])
            best.append(overview.best("loss", [key]))
            connection.execute(metric_summaries.update().values(minimum=-math.inf))
    assert best == [3.0, None]


def test_names_come_with_the_values_of_those_that_matter(database: Database, store: Store) -> None:
    line = seeds.Grower(database, store, "digits").line("main", 100)
    line.log("loss", [1, 2, 3], [3.0, 1.0, math.nan])
    line.log("accuracy", [1, 2], [0.5, 0.4])
    line.log("other", [1], [7.0])
    line.log("stall/copy_ms", [1], [7.0])
    key = line.segment.id
    with database.read() as connection:
        overview = metric_overview.read(
            connection, line.grower.run.id, [key], None, ["lr", "accuracy"], ["accuracy"]
        )
        named = metric_overview.read(connection, line.grower.run.id, [key], "other")
        nothing = metric_overview.read(connection, "nope", [])
    assert overview.metrics.names == ("loss", "accuracy", "other", "stall/copy_ms")
    assert (overview.metrics.chosen, overview.metrics.total) == ("loss", 4)
    assert overview.values.keys() == {"loss", "accuracy"}
    assert overview.best("loss", [key]) == 1.0 and overview.best("accuracy", [key]) == 0.5
    step, value = overview.last("loss")[key]
    assert step == 3 and math.isnan(value)
    assert overview.best("loss", []) is None
    assert named.metrics.names[0] == named.metrics.chosen == "other"
    assert named.last("other") == {key: (1, 7.0)}
    assert (nothing.metrics.names, nothing.metrics.chosen) == ((), None)
