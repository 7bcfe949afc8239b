"""The tables of this folder. No row is sealed: all but saved views can be made again."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, LargeBinary, String, Table, Text

from branchtrack.db.tables import metadata, metric_series, segments

_ID = segments.c.id.type
_METRIC = metric_series.c.name.type
_SEQ = metric_series.c.id.type

#: Made from points and blocks as these are written, so that lists need not read them.
metric_summaries = Table(
    "metric_summaries",
    metadata,
    Column("series_id", _SEQ, primary_key=True, autoincrement=False),
    Column("run_id", _ID, nullable=False),
    Column("segment_id", _ID, nullable=False),
    Column("name", _METRIC, nullable=False),
    Column("minimum", Double),
    Column("maximum", Double),
    Column("last_step", BigInteger, nullable=False),
    Column("last", Double),
    # All that a list of runs needs, so that it reads the index alone.
    Index(
        "ix_metric_summaries_name",
        *("name", "run_id", "segment_id", "minimum", "maximum", "last_step", "last"),
    ),
)

#: Made from blocks as these are sealed, so that charts need not read them.
metric_pyramids = Table(
    "metric_pyramids",
    metadata,
    Column("series_id", _SEQ, primary_key=True, autoincrement=False),
    Column("first_step", BigInteger, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)

#: Lists of runs as somebody saved them: the part of their address after the question mark.
saved_views = Table(
    "saved_views",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("address", Text, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("created_at", Double, nullable=False),
)
