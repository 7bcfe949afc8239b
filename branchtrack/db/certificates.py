"""Certificates: results of training a stretch of a branch again; written once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from branchtrack.core import exactness
from branchtrack.core.records import Certificate
from branchtrack.db import audit, seals
from branchtrack.db.tables import branches, certificates


def add(connection: Connection, certificate: Certificate, step: int) -> None:
    """Record a certificate and its event in the run's log; ``step`` is that of its later node."""
    connection.execute(certificates.insert().values(**asdict(certificate)))
    audit.append(
        connection,
        certificate.run_id,
        kind="certificate",
        ref=certificate.id,
        state=exactness.verdict(certificate),
        actor=certificate.actor,
        step=step,
        reason=exactness.words(certificate)[:2000],
        payload={
            "branch": certificate.branch_id,
            "from": certificate.from_node_id,
            "to": certificate.to_node_id,
            "digest": certificate.digest,
            **seals.renew_for_event(connection, certificates, certificate.id),
        },
    )


def find(connection: Connection, certificate_id: str) -> Certificate | None:
    """Return the certificate with exactly that id, if it was ever written."""
    row = connection.execute(
        select(certificates).where(certificates.c.id == certificate_id)
    ).first()
    return None if row is None else record(row)


def newest_of_branch() -> Select[tuple[str]]:
    """Return the query for the newest certificate's id of the enclosing query's branch."""
    inner = certificates.alias("newest")
    return (
        select(inner.c.id)
        .where(inner.c.branch_id == branches.c.id)
        .order_by(inner.c.created_at.desc(), inner.c.id.desc())
        .limit(1)
        .correlate(branches)
    )


def record(row: Row[Any]) -> Certificate:
    """Return a row of the table as a value."""
    return Certificate(**row._mapping)
