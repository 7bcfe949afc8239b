"""Launchers: profiles of clusters' options, and the job that carries out a launch."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_COLUMNS = (
    ("launcher", sa.JSON()),
    ("job", sa.String(64)),
    ("job_state", sa.String(32)),
    ("job_host", sa.String(255)),
    ("job_reason", sa.Text()),
)


def upgrade() -> None:
    """Add the table and the columns."""
    op.create_table(
        "launchers",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(120), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_launchers"),
        sa.UniqueConstraint("name", name="uq_launchers_name"),
    )
    for name, kind in _COLUMNS:
        op.add_column("launches", sa.Column(name, kind))
    op.create_index("ix_launches_job_state", "launches", ["job_state"])


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("ix_launches_job_state", "launches")
    for name, _kind in reversed(_COLUMNS):
        op.drop_column("launches", name)
    op.drop_table("launchers")
