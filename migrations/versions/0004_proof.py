"""What proves a resume, saves not made, the command of a run, the variables of a process."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ADDED = {
    "launches": ["strict", "environment"],
    "runs": ["command"],
    "segments": ["saves", "environment"],
    "nodes": ["compared", "proof"],
}


def upgrade() -> None:
    """Add columns to nodes, segments and runs."""
    op.add_column("nodes", sa.Column("proof", sa.JSON(), nullable=True))
    op.add_column("nodes", sa.Column("compared", sa.JSON(), nullable=True))
    op.add_column("segments", sa.Column("saves", sa.JSON(), nullable=True))
    op.add_column("runs", sa.Column("command", sa.String(64), nullable=True))
    op.add_column(
        "launches", sa.Column("strict", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("launches", sa.Column("environment", sa.JSON(), nullable=True))
    op.add_column("segments", sa.Column("environment", sa.JSON(), nullable=True))
    op.create_index("ix_runs_command", "runs", ["command"])
    if op.get_context().dialect.name != "sqlite":
        # SQLite keeps names of any length.
        op.alter_column("metric_series", "name", type_=sa.String(500))


def downgrade() -> None:
    """Take all of it away again."""
    # Names of metrics may stay longer: nothing that is there is cut.
    op.drop_index("ix_runs_command", table_name="runs")
    for table, columns in _ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name in columns:
                batch.drop_column(name)
