"""Trials: paired forks that answer whether a change helps, and their verdicts."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_ID = sa.String(16)
_INDEXED = ("run_id", "group_id", "subject", "state")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "trials",
        sa.Column("id", _ID, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("group_id", _ID),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", _ID),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("pairs", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("verdicts", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_trials_run_id_runs"),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
    )
    for column in _INDEXED:
        op.create_index(f"ix_trials_{column}", "trials", [column])


def downgrade() -> None:
    """Take it away again."""
    for column in _INDEXED:
        op.drop_index(f"ix_trials_{column}", "trials")
    op.drop_table("trials")
