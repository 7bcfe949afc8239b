"""Alerts, agents and their exchanges; proposals; what a run is watched for."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ID = sa.String(16)
_ADDED = {
    "runs": {"watch": sa.JSON()},
    "requests": {"agent_id": _ID, "decided_by": sa.String(120)},
}


def upgrade() -> None:
    """Add the tables and columns; NULL stands for what earlier versions did."""
    _add_alerts()
    _add_agents()
    _add_exchanges()
    for table, columns in _ADDED.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind, nullable=True))


def _add_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("seq", _SEQ, nullable=False, autoincrement=True),
        sa.Column("id", _ID, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("branch_id", _ID, nullable=False),
        sa.Column("segment_id", _ID),
        sa.Column("node_id", _ID),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger()),
        sa.Column("metric", sa.String(500).with_variant(sa.String(200), "sqlite")),
        sa.Column("value", sa.Double()),
        sa.Column("offer", sa.JSON()),
        sa.Column("key", sa.String(120), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double()),
        sa.Column("seen_by", sa.String(120)),
        sa.Column("delivered_at", sa.Double()),
        sa.Column("delivery", sa.JSON()),
        sa.Column("logged_seq", sa.BigInteger()),
        *_keys("alerts"),
        sa.UniqueConstraint("run_id", "key", name="uq_alerts_run_id_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alerts_branch_id", "alerts", ["branch_id"])
    op.create_index("ix_alerts_run_id_seq", "alerts", ["run_id", "seq"])


def _add_agents() -> None:
    op.create_table(
        "agents",
        sa.Column("id", _ID, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("policy", sa.String(16), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("branch", sa.String(80)),
        *(
            sa.Column(name, sa.JSON(), nullable=False)
            for name in ("options", "budget", "spent", "memory")
        ),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger()),
        sa.Column("actor", sa.String(120), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("host", sa.String(255)),
        sa.Column("pid", sa.Integer()),
        sa.Column("process", sa.String(255)),
        sa.Column("stop", sa.String(120)),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("heartbeat_at", sa.Double()),
        sa.Column("ended_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_agents"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_agents_run_id"),
        sa.UniqueConstraint("run_id", "name", name="uq_agents_run_id_name"),
    )


def _add_exchanges() -> None:
    op.create_table(
        "exchanges",
        sa.Column("seq", _SEQ, nullable=False, autoincrement=True),
        sa.Column("id", _ID, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("branch_id", _ID, nullable=False),
        sa.Column("agent_id", _ID, nullable=False),
        sa.Column("request_id", _ID),
        sa.Column("launch_id", _ID),
        sa.Column("step", sa.BigInteger()),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("prompt", sa.JSON(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("tokens_in", sa.BigInteger()),
        sa.Column("tokens_out", sa.BigInteger()),
        sa.Column("cost", sa.Double()),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("logged_seq", sa.BigInteger()),
        *_keys("exchanges"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_exchanges_branch_id", "exchanges", ["branch_id"])
    op.create_index("ix_exchanges_agent_id", "exchanges", ["agent_id"])
    op.create_index("ix_exchanges_run_id_seq", "exchanges", ["run_id", "seq"])


def _keys(table: str) -> tuple[sa.Constraint, ...]:
    """Return the constraints of a table of numbered rows that belong to a branch."""
    return (
        sa.PrimaryKeyConstraint("seq", name=f"pk_{table}"),
        sa.UniqueConstraint("id", name=f"uq_{table}_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=f"fk_{table}_run_id"),
    )


def downgrade() -> None:
    """Take them away again."""
    for table, columns in _ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name in columns:
                batch.drop_column(name)
    for table in ("exchanges", "agents", "alerts"):
        op.drop_table(table)
