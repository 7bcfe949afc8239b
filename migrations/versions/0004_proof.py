"""What proves a resume, what saves were not made, and which command a run is of."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ADDED = {
    "launches": ["strict"],
    "runs": ["command"],
    "segments": ["saves"],
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
    op.create_index("ix_runs_command", "runs", ["command"])


def downgrade() -> None:
    """Take all of it away again."""
    op.drop_index("ix_runs_command", table_name="runs")
    for table, columns in _ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name in columns:
                batch.drop_column(name)
