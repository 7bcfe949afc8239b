"""The tables of trials and of profiles of launchers; the others are in `db.tables`."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, ForeignKey, String, Table, Text

from branchtrack.db.tables import metadata, runs

_ID = runs.c.id.type

trials = Table(
    "trials",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("run_id", _ID, ForeignKey("runs.id"), nullable=False, index=True),
    # No foreign keys: a group goes with its branches, a node with its own; verdicts stay.
    Column("group_id", _ID, index=True),
    Column("kind", String(16), nullable=False),
    Column("subject", _ID, index=True),
    Column("spec", JSON, nullable=False),
    Column("pairs", JSON, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("verdicts", JSON, nullable=False),
    Column("error", Text, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

launchers = Table(
    "launchers",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("options", JSON, nullable=False),
    Column("created_by", String(120), nullable=False),
    Column("created_at", Double, nullable=False),
)
