"""Conditions, keys and senders of requests; what a process offers; tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def _requests() -> list[sa.Column]:
    return [
        sa.Column("key", sa.String(200), nullable=True),
        sa.Column("conditions", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("asked_step", sa.BigInteger(), nullable=True),
        sa.Column("run_steps", sa.BigInteger(), nullable=True),
        sa.Column("token_id", sa.String(16), nullable=True),
        sa.Column("channel", sa.String(16), nullable=False, server_default="shell"),
        sa.Column("cancel", sa.String(120), nullable=True),
    ]


def _segments() -> list[sa.Column]:
    return [
        sa.Column("offers", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("process", sa.String(255), nullable=True),
    ]


def upgrade() -> None:
    """Add the columns of requests and segments, and the table of tokens."""
    for table, columns in (("requests", _requests()), ("segments", _segments())):
        for column in columns:
            op.add_column(table, column)
    op.create_index(
        "uq_requests_run_id_actor_key", "requests", ["run_id", "actor", "key"], unique=True
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("only", sa.JSON(), nullable=True),
        sa.Column("limit", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.String(120), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("name", name="uq_tokens_name"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )


def downgrade() -> None:
    """Take all of it away again."""
    op.drop_table("tokens")
    op.drop_index("uq_requests_run_id_actor_key", table_name="requests")
    for table, columns in (("segments", _segments()), ("requests", _requests())):
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column.name)
