"""Lines of a run's log as plain JSON values, the same for the shell and the API.

It loads no large library: `branchtrack audit` has to answer at once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from branchtrack import redaction
from branchtrack.core import restores
from branchtrack.core.records import CONTENTS, Event, Run

if TYPE_CHECKING:
    from sqlalchemy import Connection


def event(record: Event) -> dict[str, Any]:
    """Return one line of the log; ``request`` is the id of its request, if it has one."""
    return {
        "seq": record.seq,
        "time": moment(record.time),
        "actor": record.actor,
        "kind": record.kind,
        "ref": record.ref,
        "request": record.ref if record.kind == "request" else None,
        "state": record.state,
        "step": record.step,
        "payload": _without_secrets(record.payload),
        "reason": record.reason,
        "hash": record.hash,
    }


def facts(record: Event) -> dict[str, Any]:
    """Return the facts of a line to be shown; the differences of a restore as sentences."""
    carried = _without_secrets(record.payload)
    if record.kind == "restore" and carried.get("differences"):
        carried = {**carried, "differences": restores.differences(carried)}
    shown = {name: value for name, value in carried.items() if name != CONTENTS}
    return {name: value for name, value in shown.items() if value not in ({}, [], None, "")}


def chain(connection: Connection, run: Run) -> dict[str, Any]:
    """Return whether the log of a run is as it was written, and its last hash.

    ``broken_at`` is the ``seq`` from which it is not; ``untold`` are records that differ from the
    last events on them.
    """
    from branchtrack.db import audit
    from branchtrack.db.integrity import lenient

    with lenient(connection):
        broken = audit.first_broken_seq(connection, run.id)
        unlogged = audit.unlogged_changes(connection, run.id) if broken is None else []
    last = audit.newest(connection, run.id, 1)
    return {
        "run": run.name,
        "holds": broken is None and not unlogged,
        "broken_at": broken,
        "untold": [{"kind": kind, "id": ref} for kind, ref in unlogged],
        "events": last[0].seq if last else 0,
        "hash": last[0].hash if last else None,
    }


def _without_secrets(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the payload without secrets, which a recorded move of the command may have."""
    argv = payload.get("argv")
    if not isinstance(argv, list):
        return payload
    return {**payload, "argv": [redaction.redacted(words or []) for words in argv]}


def moment(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
