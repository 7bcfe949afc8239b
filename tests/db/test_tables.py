"""The tables that queries use are those that the migrations create."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from branchtrack.db import seals
from branchtrack.db.browsing import tables as browsing
from branchtrack.db.engine import Database
from branchtrack.db.tables import metadata


def test_autogenerate_finds_nothing_to_add(database: Database) -> None:
    with database.transaction() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_table_is_sealed_or_proves_itself() -> None:
    proven = {"tensors", "events", "seals", "metric_points", "metric_blocks", "metric_series"}
    proven.add("workers")  # who works at present is no record
    proven |= set(browsing.metadata.tables) & {"metric_summaries", "metric_pyramids"}  # derived
    proven.add("saved_views")  # no part of a run's record
    assert metadata.tables.keys() == seals.SEALED.keys() | proven


def test_the_tables_that_code_names_are_those_in_a_new_database(sqlite_database: Database) -> None:
    with sqlite_database.read() as connection:
        names = set(inspect(connection).get_table_names())
    assert names == metadata.tables.keys() | {"alembic_version"}
