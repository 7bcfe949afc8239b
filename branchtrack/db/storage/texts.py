"""Texts that many rows share, stored once by their SHA-256 and compressed with zlib."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Collection

from sqlalchemy import Connection, func, select

from branchtrack.db import seals
from branchtrack.db.engine import upsert
from branchtrack.db.tables import texts
from branchtrack.errors import NotFound

#: Characters of a digest that are enough to name a text.
BEGINNING = 16


def digest_of(text: str) -> str:
    """Return the digest under which a text is stored: 64 hex characters."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def put(connection: Connection, text: str) -> str:
    """Store a text unless it is stored already, and return its digest."""
    digest, body = digest_of(text), text.encode("utf-8", "surrogateescape")
    row = {"digest": digest, "body": zlib.compress(body), "created_at": time.time()}
    if connection.execute(
        upsert(connection, texts).values(**row).on_conflict_do_nothing()
    ).rowcount:
        seals.renew(connection, texts, digest)
    return digest


def get(connection: Connection, digest: str) -> str:
    """Return the text with that digest.

    Raises:
        NotFound: there is none.
    """
    body = connection.execute(select(texts.c.body).where(texts.c.digest == digest)).scalar()
    if body is None:
        raise NotFound("text", digest)
    return _read(body)


def starting(connection: Connection, beginnings: Collection[str]) -> dict[str, str]:
    """Return the texts whose digests start so, by the first `BEGINNING` characters given."""
    if not beginnings:
        return {}
    beginning = func.substr(texts.c.digest, 1, BEGINNING)
    query = select(beginning, texts.c.body).where(beginning.in_(sorted(beginnings)))
    return {key: _read(body) for key, body in connection.execute(query)}


def _read(body: bytes) -> str:
    return zlib.decompress(body).decode("utf-8", "surrogateescape")
