"""Proofs of resumes, saves not made, commands of runs, launches of which nothing else is left."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_MADE = {"fork_node_id": "nodes", "branch_id": "branches", "segment_id": "segments"}


def upgrade() -> None:
    """Add columns; what a launch made may be gone."""
    op.add_column("nodes", sa.Column("proof", sa.JSON(), nullable=True))
    op.add_column("nodes", sa.Column("compared", sa.JSON(), nullable=True))
    op.add_column("segments", sa.Column("saves", sa.JSON(), nullable=True))
    op.add_column("runs", sa.Column("command", sa.String(64), nullable=True))
    op.create_index("ix_runs_command", "runs", ["command"])
    with op.batch_alter_table("launches", table_kwargs={"sqlite_autoincrement": True}) as batch:
        for column in _MADE:
            batch.drop_constraint(f"fk_launches_{column}", type_="foreignkey")
        batch.add_column(sa.Column("branch", sa.String(80), nullable=True))
        batch.add_column(sa.Column("entry_point", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take all of it away again, with the launches of which nothing else is left."""
    op.execute(
        "DELETE FROM launches WHERE NOT EXISTS "
        "(SELECT 1 FROM branches WHERE branches.id = launches.branch_id)"
    )
    with op.batch_alter_table("launches", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.drop_column("entry_point")
        batch.drop_column("branch")
        for column, table in _MADE.items():
            batch.create_foreign_key(f"fk_launches_{column}", table, [column], ["id"])
    op.drop_index("ix_runs_command", table_name="runs")
    for table, columns in (
        ("runs", ["command"]), ("segments", ["saves"]), ("nodes", ["compared", "proof"])
    ):  # fmt: skip
        with op.batch_alter_table(table) as batch:
            for name in columns:
                batch.drop_column(name)
