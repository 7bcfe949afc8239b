"""The tables that only pages read are filled from what a database holds when it is upgraded."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from branchtrack.config import load
from branchtrack.db import schema
from branchtrack.db.engine import Database

_ROWS = (
    "INSERT INTO runs (id, name, default_branch, tags, notes, created_at, updated_at)"
    " VALUES ('r', 'r', 'main', '[]', '', 1, 1)",
    "INSERT INTO branches (id, run_id, name, position, created_at) VALUES ('b', 'r', 'main', 0, 1)",
    "INSERT INTO segments (id, run_id, branch_id, position, status, step, declared, settings,"
    " offers) VALUES ('s', 'r', 'b', 0, 'finished', 9, '[]', '{}', '{}')",
    "INSERT INTO metric_series (id, segment_id, name, sealed) VALUES (1, 's', 'loss', 2)",
    "INSERT INTO metric_series (id, segment_id, name, sealed) VALUES (2, 's', 'lr', 1)",
    "INSERT INTO metric_blocks (series_id, first_step, last_step, count, minimum, maximum, last,"
    " steps, \"values\", times) VALUES (1, 1, 2, 2, 0.5, 3.0, 3.0, 'x', 'x', 'x')",
    "INSERT INTO metric_blocks (series_id, first_step, last_step, count, minimum, maximum, last,"
    " steps, \"values\", times) VALUES (2, 1, 1, 1, 0.1, 0.1, 0.1, 'x', 'x', 'x')",
    "INSERT INTO metric_points (series_id, step, value, time) VALUES (1, 3, 2.0, 1)",
    "INSERT INTO metric_points (series_id, step, value, time) VALUES (1, 4, NULL, 1)",
)


def test_an_upgrade_writes_summaries_of_blocks_and_tails(tmp_path: Path) -> None:
    config = load(tmp_path / "home")
    config.make_home()
    database = Database(config.database_url)
    schema.upgrade(database, "0008")
    with database.transaction() as connection:
        for statement in _ROWS:
            connection.execute(text(statement))
    schema.upgrade(database, "0009")
    with database.read() as connection:
        rows = connection.execute(
            text(
                "SELECT name, run_id, minimum, maximum, last_step, last"
                " FROM metric_summaries ORDER BY series_id"
            )
        ).all()
    database.close()
    # The newest point of the first series is not a number.
    assert rows == [("loss", "r", 0.5, 3.0, 4, None), ("lr", "r", 0.1, 0.1, 1, 0.1)]
