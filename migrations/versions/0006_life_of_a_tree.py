"""Groups, trash and archive, retention, what ran, workers, and more about launches."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_ADDED = {
    "runs": {"archived_at": sa.Double(), "trashed_at": sa.Double(), "retention": sa.JSON()},
    "branches": {
        "group_id": sa.String(16),
        "archived_at": sa.Double(),
        "trashed_at": sa.Double(),
        "tags": sa.JSON(),
        "notes": sa.Text(),
    },
    "segments": {"code": sa.JSON()},
    "nodes": {"merge_parent_id": sa.String(16), "pinned_at": sa.Double(), "tags": sa.JSON()},
    "checkpoints": {"thinned": sa.String(16)},
    "launches": {
        "kind": sa.String(16),
        "group_id": sa.String(16),
        "priority": sa.Integer(),
        "labels": sa.JSON(),
        "retries": sa.Integer(),
        "retry_of": sa.String(16),
        "device": sa.String(120),
        "cancel": sa.String(120),
    },
}


def upgrade() -> None:
    """Add the tables and columns; NULL stands for what earlier versions did."""
    op.create_table(
        "groups",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("run_id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_groups"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_groups_run_id"),
        sa.UniqueConstraint("run_id", "name", name="uq_groups_run_id_name"),
    )
    op.create_table(
        "texts",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_texts"),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("heartbeat_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )
    for table, columns in _ADDED.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind, nullable=True))
    for table in ("branches", "launches"):
        op.create_index(f"ix_{table}_group_id", table, ["group_id"])


def downgrade() -> None:
    """Take them away again."""
    for table in ("branches", "launches"):
        op.drop_index(f"ix_{table}_group_id", table)
    for table, columns in _ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name in columns:
                batch.drop_column(name)
    for table in ("workers", "texts", "groups"):
        op.drop_table(table)
