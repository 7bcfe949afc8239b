"""Proofs, saves not made, commands and variables; launches of which nothing else is left."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_MADE = {"fork_node_id": "nodes", "branch_id": "branches", "segment_id": "segments"}


def _added() -> dict[str, list[sa.Column]]:
    return {
        "runs": [sa.Column("command", sa.String(64), nullable=True)],
        "segments": [
            sa.Column("saves", sa.JSON(), nullable=True),
            sa.Column("environment", sa.JSON(), nullable=True),
        ],
        "nodes": [
            sa.Column("proof", sa.JSON(), nullable=True),
            sa.Column("compared", sa.JSON(), nullable=True),
        ],
    }


def _of_launches() -> list[sa.Column]:
    return [
        sa.Column("branch", sa.String(80), nullable=True),
        sa.Column("entry_point", sa.JSON(), nullable=True),
        sa.Column("strict", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("environment", sa.JSON(), nullable=True),
    ]


def upgrade() -> None:
    """Add columns; what a launch made may be gone."""
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("ix_runs_command", "runs", ["command"])
    if op.get_context().dialect.name != "sqlite":
        # SQLite keeps names of any length.
        op.alter_column("metric_series", "name", type_=sa.String(500))
    with op.batch_alter_table("launches", table_kwargs={"sqlite_autoincrement": True}) as batch:
        for name in _MADE:
            batch.drop_constraint(f"fk_launches_{name}", type_="foreignkey")
        for column in _of_launches():
            batch.add_column(column)


def downgrade() -> None:
    """Take all of it away again, with the launches of which nothing else is left."""
    op.execute(
        "DELETE FROM launches WHERE NOT EXISTS "
        "(SELECT 1 FROM branches WHERE branches.id = launches.branch_id)"
    )
    with op.batch_alter_table("launches", table_kwargs={"sqlite_autoincrement": True}) as batch:
        for column in _of_launches():
            batch.drop_column(column.name)
        for name, table in _MADE.items():
            batch.create_foreign_key(f"fk_launches_{name}", table, [name], ["id"])
    # Names of metrics may stay longer: nothing that is there is cut.
    op.drop_index("ix_runs_command", table_name="runs")
    for table, columns in _added().items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column.name)
