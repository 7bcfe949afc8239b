"""Tokens that people and programs present to the server. Only digests of them are stored.

A token is 32 random bytes, so a plain SHA-256 of it cannot be reversed by guessing.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from branchtrack.core import plain_values
from branchtrack.core.actors import ROLES
from branchtrack.core.names import new_id, valid_name
from branchtrack.core.records import Token
from branchtrack.db import seals
from branchtrack.db.engine import upsert
from branchtrack.db.tables import tokens
from branchtrack.errors import InvalidInput, NameTaken, NotFound

#: Prefix of a token, so that scanners can find one that has leaked.
PREFIX = "bt_"
#: Seconds between two records of when a token was used.
_TOUCH_EVERY = 60.0
#: Limit of the requests that a token may make: what a column of whole numbers holds.
_MOST = 10**9


def create(
    connection: Connection,
    name: str,
    role: str,
    *,
    created_by: str,
    only: Sequence[str] | None = None,
    limit: int | None = None,
) -> tuple[Token, str]:
    """Create a token; return it with its secret, which cannot be read again.

    Raises:
        InvalidInput: the name, the role, ``only`` or ``limit`` is not valid. NameTaken.
    """
    valid_name(name)
    if role not in ROLES:
        raise InvalidInput("role", role, ", ".join(ROLES))
    if limit is not None and not 1 <= limit <= _MOST:
        allowed = f"a whole number of at least 1 and at most {_MOST}"
        raise InvalidInput("max_per_1000_steps", limit, allowed)
    plain_values.check(only, "only")
    names = None if only is None else [pattern.strip() for pattern in only if pattern.strip()]
    if names == []:
        raise InvalidInput("only", only, "names of settings and actions, separated by commas")
    secret = PREFIX + secrets.token_urlsafe(32)
    now, token_id = time.time(), new_id()
    row = upsert(connection, tokens).values(
        id=token_id,
        name=name,
        digest=_digest(secret),
        role=role,
        only=names,
        limit=limit,
        created_by=created_by,
        created_at=now,
        used_at=None,
        revoked_at=None,
    )
    if not connection.execute(row.on_conflict_do_nothing()).rowcount:
        raise NameTaken("token", name, f"{name}-2")
    seals.renew(connection, tokens, token_id)
    return _get(connection, token_id), secret


def find_secret(connection: Connection, secret: str) -> Token | None:
    """Return the valid token with that secret, or None."""
    query = select(tokens).where(tokens.c.digest == _digest(secret), tokens.c.revoked_at.is_(None))
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def in_force(connection: Connection, token_id: str) -> Token | None:
    """Return the valid token with exactly that id, or None."""
    query = select(tokens).where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def is_stale(token: Token, now: float) -> bool:
    """Return whether its use should be recorded again with `touch`."""
    return token.used_at is None or now - token.used_at > _TOUCH_EVERY


def touch(connection: Connection, token_id: str) -> None:
    """Record that a token was used now."""
    connection.execute(tokens.update().where(tokens.c.id == token_id).values(used_at=time.time()))
    seals.renew(connection, tokens, token_id)


def revoke(connection: Connection, name: str) -> Token:
    """Revoke a token: it gives no more access.

    Raises:
        NotFound: no valid token has that name.
    """
    done = connection.execute(
        tokens.update()
        .where(tokens.c.name == name, tokens.c.revoked_at.is_(None))
        .values(revoked_at=time.time())
    )
    if not done.rowcount:
        near = [token.name for token in list_all(connection) if token.revoked_at is None]
        raise NotFound("token", name, near)
    row = connection.execute(select(tokens).where(tokens.c.name == name)).one()
    seals.renew(connection, tokens, row.id)
    return _record(row)


def list_all(connection: Connection) -> list[Token]:
    """Return every token, in order of creation."""
    rows = connection.execute(select(tokens).order_by(tokens.c.created_at))
    return [_record(row) for row in rows]


def _get(connection: Connection, token_id: str) -> Token:
    return _record(connection.execute(select(tokens).where(tokens.c.id == token_id)).one())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _record(row: Row[Any]) -> Token:
    fields = {key: value for key, value in row._mapping.items() if key != "digest"}
    fields["only"] = None if fields["only"] is None else tuple(fields["only"])
    return Token(**fields)
