"""When a run was purged, and the numbers of rows that came from another database."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_ADDED = {
    "runs": {"purged_at": sa.Double()},
    "nodes": {"logged_seq": sa.BigInteger()},
    "requests": {"logged_seq": sa.BigInteger()},
    "launches": {"logged_seq": sa.BigInteger()},
}


def upgrade() -> None:
    """Add the columns; NULL stands for a row that is there and was written here."""
    for table, columns in _ADDED.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    """Take them away again."""
    for table, columns in _ADDED.items():
        with op.batch_alter_table(table) as batch:
            for name in columns:
                batch.drop_column(name)
