"""Seals, by which a changed row is noticed; how often requests were refused beyond those kept."""

import sqlalchemy as sa
from alembic import op

from branchtrack.db import audit, seals, tails

revision = "0005"
down_revision = "0004"

_POINTS = {"metric_points": "step", "metric_blocks": "first_step"}
_CHUNK = 5000


def upgrade() -> None:
    """Add the tables and columns, and seal every row."""
    op.create_table(
        "refusals",
        sa.Column("run_id", sa.String(16), nullable=False),
        sa.Column("branch_id", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "branch_id", "actor", "kind", name="pk_refusals"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_refusals_run_id"),
    )
    op.create_table(
        "seals",
        sa.Column("table", sa.String(32), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("seal", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("table", "key", name="pk_seals"),
    )
    op.add_column(
        "metric_series", sa.Column("sealed", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.execute(
        "UPDATE metric_series SET sealed = coalesce((SELECT sum(count) FROM metric_blocks "
        "WHERE metric_blocks.series_id = metric_series.id), 0)"
    )
    connection = op.get_bind()
    for name, step in _POINTS.items():
        op.add_column(name, sa.Column("seal", sa.String(16), nullable=True))
        _seal_points(connection, name, step)
    look = sa.inspect(connection)
    columns = {name: {c["name"] for c in look.get_columns(name)} for name in look.get_table_names()}
    seals.seal_all(connection, columns)
    audit.seal_numbers(connection)
    tails.seal_all(connection, columns["metric_series"])


def downgrade() -> None:
    """Take them away again."""
    for name in _POINTS:
        with op.batch_alter_table(name) as batch:
            batch.drop_column("seal")
    with op.batch_alter_table("metric_series") as batch:
        batch.drop_column("sealed")
    op.drop_table("seals")
    op.drop_table("refusals")


def _seal_points(connection: sa.Connection, name: str, step: str) -> None:
    rows = connection.execute(sa.text(f"SELECT * FROM {name}")).mappings()
    place = f"series_id = :b_series AND {step} = :b_step"
    update = sa.text(f"UPDATE {name} SET seal = :b_seal WHERE {place}")
    sealed = [
        {"b_series": row["series_id"], "b_step": row[step], "b_seal": _seal(name, dict(row))}
        for row in rows
    ]
    for first in range(0, len(sealed), _CHUNK):
        connection.execute(update, sealed[first : first + _CHUNK])


def _seal(name: str, row: dict) -> str:
    row.pop("seal")
    return seals.point(**row) if name == "metric_points" else seals.digest(row)
