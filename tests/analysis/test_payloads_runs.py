"""A table of runs as JSON."""

from __future__ import annotations

import time

from branchtrack.analysis import payloads, payloads_runs
from branchtrack.checkpoints.packs import Store
from branchtrack.db.browsing import run_search
from branchtrack.db.engine import Database
from tests.db.browsing.tables_of_runs import add_run


def test_a_row_is_that_of_the_list_of_runs_and_has_values(database: Database, store: Store) -> None:
    add_run(database, store, "demo", settings={"lr": 0.1}, loss=[2.0]).node("main", 0)
    add_run(database, store, "other", settings={"lr": 0.2})
    selection = run_search.selection("", "lr", by="status", columns="lr,last(loss),status")
    with database.read() as connection:
        table = payloads_runs.table(connection, selection, time.time(), 1)
    (row,) = table["runs"]
    assert (table["total"], table["hidden"], table["next"]) == (2, 0, 1)
    assert row.pop("values") == {"lr": 0.1, "last(loss)": 2.0} and row.pop("group") == "finished"
    with database.read() as connection:
        listed = {line["name"]: line for line in payloads.runs(connection, time.time())}
        rest = payloads_runs.table(connection, run_search.selection(), time.time(), None, 1)
    assert row == listed["demo"]
    assert rest["next"] is None and "values" not in rest["runs"][0]
