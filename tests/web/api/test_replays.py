"""The API for the changes along a branch, and their replay."""

from __future__ import annotations

from branchtrack import control
from branchtrack.core.replays.recording import from_text
from branchtrack.db import segments
from branchtrack.schemas.replays import Interventions, Replay
from tests.recordings import at, text_of
from tests.web.conftest import Site

BRANCH = "/api/v1/runs/digits/branches/main"


def test_changes_are_answered_and_offered_as_a_file(own: Site) -> None:
    answer = own.client.get(f"{BRANCH}/interventions")
    assert answer.status_code == 200
    changes = Interventions.model_validate(answer.json)
    assert (changes.run, changes.branch, changes.step) == ("digits", "main", 0)
    file = own.client.get("/runs/digits/branches/main/interventions.jsonl")
    assert "attachment" in file.headers["Content-Disposition"]
    recording = from_text(file.get_data(as_text=True))
    assert len(recording.changes) == len(changes.interventions)
    unknown = own.client.get(f"{BRANCH}/interventions?by=reward")
    assert (unknown.status_code == 422) is bool(changes.interventions)
    assert own.client.get(f"{BRANCH}/interventions?from=zzzz").status_code == 404


def test_a_recording_is_requested_once(own: Site) -> None:
    with own.database.read() as connection:
        step = segments.get(connection, own.lines["main"].segment.id).step
    body = {"recording": text_of(at(step + 5), at(step + 7)), "reason": "again"}
    tried = own.client.post(f"{BRANCH}/replay", json={**body, "dry_run": True})
    assert tried.status_code == 200
    assert [change.request for change in Replay.model_validate(tried.json).changes] == [None, None]
    first = own.client.post(f"{BRANCH}/replay", json=body)
    assert first.status_code == 202
    changes = Replay.model_validate(first.json).changes
    assert [(change.line, change.state) for change in changes] == [(2, "accepted"), (3, "accepted")]
    assert own.client.post(f"{BRANCH}/replay", json=body).json == first.json
    waiting = control.poll(own.database, own.lines["main"].segment.id)
    assert [row.id for row in waiting] == [change.request for change in changes]
    assert waiting[0].reason == "again (replayed from a recording)"


def test_a_recording_that_does_not_fit_is_refused_with_its_line(own: Site) -> None:
    for text, field in (
        (text_of(at(10**6)), "line 2: at_step"),
        (text_of(at(0)), "line 2: at.step"),
        ("no", "line 1: JSON"),
    ):
        refused = own.client.post(f"{BRANCH}/replay", json={"recording": text})
        assert refused.status_code == 422 and refused.json is not None
        assert refused.json["error"]["field"] == field
    assert control.poll(own.database, own.lines["main"].segment.id) == []
