"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Bring an older database to this revision."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Go back one revision."""
    ${downgrades if downgrades else "pass"}
