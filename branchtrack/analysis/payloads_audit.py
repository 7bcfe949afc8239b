"""Lines of a run's log as plain JSON values, the same for the shell and the API.

Nothing is loaded for it: `branchtrack audit` has to answer at once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from branchtrack import redaction
from branchtrack.core import restores
from branchtrack.core.records import CONTENTS, Event


def event(record: Event) -> dict[str, Any]:
    """One line; ``request`` is the id of the request that it is about, if it is about one."""
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
    """What a line carries that says something, to be shown; what a restore differs in, in words."""
    carried = _without_secrets(record.payload)
    if record.kind == "restore" and carried.get("differences"):
        carried = {**carried, "differences": restores.differences(carried)}
    shown = {name: value for name, value in carried.items() if name != CONTENTS}
    return {name: value for name, value in shown.items() if value not in ({}, [], None, "")}


def _without_secrets(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload as it is shown: a move of the command may have been recorded with its secrets."""
    argv = payload.get("argv")
    if not isinstance(argv, list):
        return payload
    return {**payload, "argv": [redaction.redacted(words or []) for words in argv]}


def moment(seconds: float) -> str:
    """A time as ISO 8601 in UTC, to the millisecond."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
