"""How often what an actor asked for was refused, beyond the refusals that are kept whole."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table."""
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


def downgrade() -> None:
    """Take it away again."""
    op.drop_table("refusals")
