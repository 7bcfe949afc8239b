"""alembic's entry: runs the migrations on the connection that the caller opened.

Called by hand (`alembic upgrade head`) it opens the configured database itself.
"""

from alembic import context
from sqlalchemy import Connection

from branchtrack import config

# Both modules of tables are imported for what they add to the metadata.
from branchtrack.db.browsing import tables  # noqa: F401
from branchtrack.db.engine import Database
from branchtrack.db.orders import tables as _orders  # noqa: F401
from branchtrack.db.tables import metadata


def migrate(connection: Connection) -> None:
    """Run the migrations; batch mode because SQLite cannot alter tables in place."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


opened = context.config.attributes.get("connection")
if opened is not None:
    migrate(opened)
else:
    settings = config.load()
    settings.make_home()
    database = Database(settings.database_url)
    with database.transaction() as own:
        migrate(own)
