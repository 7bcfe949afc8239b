"""Telling others that there is something new for them: PostgreSQL's NOTIFY, on one channel.

A notice is sent when the transaction commits, and never if it does not. It holds the id of what
changed and nothing more; whoever hears it reads the rest. Other databases pass nothing on.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

#: One channel for each schema: notices stay within their database by themselves.
CHANNEL = "'branchtrack_' || md5(coalesce(current_schema(), ''))"
_TELL = text(f"SELECT pg_notify({CHANNEL}, :key)")


def tell(connection: Connection, key: str) -> None:
    """Tell those that wait for ``key``, the id of a segment or request, once this is committed.

    It is for what somebody waits for: PostgreSQL lets transactions that do so commit one by one.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_TELL, {"key": key})
