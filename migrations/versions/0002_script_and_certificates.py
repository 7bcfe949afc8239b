"""What a script asked for, and certificates of exactness."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add ``segments.script`` and the table of certificates."""
    op.add_column("segments", sa.Column("script", sa.JSON(), nullable=True))
    op.create_table(
        "certificates",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("run_id", sa.String(16), nullable=False),
        sa.Column("branch_id", sa.String(16), nullable=False),
        sa.Column("from_node_id", sa.String(16), nullable=False),
        sa.Column("to_node_id", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("difference", sa.JSON(), nullable=True),
        sa.Column("untested", sa.JSON(), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_certificates_run_id"),
        sa.ForeignKeyConstraint(["branch_id"], ["branches.id"], name="fk_certificates_branch_id"),
        sa.ForeignKeyConstraint(
            ["from_node_id"], ["nodes.id"], name="fk_certificates_from_node_id"
        ),
        sa.ForeignKeyConstraint(["to_node_id"], ["nodes.id"], name="fk_certificates_to_node_id"),
        sa.PrimaryKeyConstraint("id", name="pk_certificates"),
    )
    op.create_index("ix_certificates_branch_id", "certificates", ["branch_id"])


def downgrade() -> None:
    """Take both away again."""
    op.drop_index("ix_certificates_branch_id", table_name="certificates")
    op.drop_table("certificates")
    with op.batch_alter_table("segments") as batch:
        batch.drop_column("script")
