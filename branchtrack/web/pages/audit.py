"""The log of a run: every event, newest first, and on request whether their chain is intact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, Response, request

from branchtrack.analysis import payloads_audit
from branchtrack.analysis.trials import sentences
from branchtrack.core.formats import assignments
from branchtrack.core.records import Event
from branchtrack.db import audit, integrity, requests, runs
from branchtrack.web.input import query
from branchtrack.web.rendering import respond
from branchtrack.web.services import services

blueprint = Blueprint("audit", __name__)
PAGE = 100
KINDS = (
    "run",
    "branch",
    "segment",
    "node",
    "request",
    "launch",
    "trial",
    "certificate",
    "alert",
    "agent",
    "exchange",
    "trouble",
    "save",
    "signal",
    "metric",
    "restore",
)
_LONGEST = 160


@dataclass(frozen=True)
class Verdict:
    """The result of recomputing the chain; ``unlogged_changes`` as in `db.audit`."""

    broken: int | None
    unlogged_changes: Sequence[tuple[str, str]]
    events: int
    hash: str


@blueprint.get("/runs/<run>/audit")
def show(run: str) -> Response:
    """Return the page; ``verify`` in the address recomputes the whole chain."""
    kind = query.choice("kind", ("", *KINDS))
    actor, ref = (request.args.get(name, "").strip()[:120] for name in ("actor", "request"))
    with services().database.read() as connection:
        run_record = runs.find_run(connection, run)
        request_record = requests.find(connection, ref) if ref else None
        listed = audit.page(
            connection,
            run_record.id,
            PAGE + 1,
            query.whole("before", 1),
            kind=kind,
            actor=actor,
            ref=request_record.id if request_record else "",
        )
        people = audit.actors_of(connection, run_record.id)
        verdict = None
        if "verify" in request.args:
            last = audit.newest(connection, run_record.id, 1)
            with integrity.lenient(connection):
                broken = audit.first_broken_seq(connection, run_record.id)
                is_whole = broken is None
                unlogged = audit.unlogged_changes(connection, run_record.id) if is_whole else []
            verdict = Verdict(
                broken, unlogged, last[-1].seq if last else 0, last[-1].hash if last else ""
            )
    shown = listed[:PAGE]
    return respond(
        "audit/index.html",
        run=run_record,
        events=shown,
        verdict=verdict,
        kinds=KINDS,
        people=people,
        facts={event.seq: _facts(event) for event in shown},
        asked=request_record,
        filters={
            "kind": kind or None,
            "actor": actor or None,
            "request": request_record.id if request_record else None,
        },
        older=shown[-1].seq if len(listed) > PAGE else None,
    )


def _facts(event: Event) -> str:
    """Return the facts of an event in one line; those of a trial as a sentence."""
    if event.kind == "trial":
        return sentences.of_event(event)
    facts = {
        name: value for name, value in payloads_audit.facts(event).items() if value != event.reason
    }
    text = assignments(facts)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
