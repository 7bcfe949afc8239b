"""Small curves are drawn once for a run that has ended, and anew while it trains."""

from __future__ import annotations

import time

from markupsafe import Markup

from branchtrack.db.browsing import run_records
from branchtrack.web.charts import run_courses
from tests.web.conftest import Site


def sparks(site: Site) -> list[Markup]:
    with site.database.read() as connection:
        runs = list(run_records.read(connection, None, time.time()).runs.values())
        starts = {run.id: {site.lines["main"].segment.id: None} for run in runs}
        return list(run_courses.sparks(connection, runs, starts).values())


def test_a_curve_follows_a_training_and_stays_when_it_has_ended(own: Site) -> None:
    main = own.lines["main"]
    (first,) = sparks(own)
    main.log("loss", [90], [9.0])
    (second,) = sparks(own)
    assert "svg" in first and second != first
    main.end("finished")
    assert sparks(own) == sparks(own) == [second]
