"""Texts that many rows share, stored once by their SHA-256 and compressed with zlib."""

from __future__ import annotations

import hashlib
import time
import zlib

from sqlalchemy import Connection, select

from branchtrack.db import seals
from branchtrack.db.engine import upsert
from branchtrack.db.tables import texts
from branchtrack.errors import NotFound


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
    return zlib.decompress(body).decode("utf-8", "surrogateescape")


def find(connection: Connection, beginning: str) -> str:
    """Return the text whose digest starts with ``beginning``, 16 hex characters or more.

    Raises:
        NotFound: there is none.
    """
    query = select(texts.c.digest).where(texts.c.digest.startswith(beginning, autoescape=True))
    digest = connection.execute(query.limit(1)).scalar()
    if digest is None:
        raise NotFound("text", beginning)
    return get(connection, digest)
