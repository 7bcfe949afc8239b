"""Programs read sizes and sweep as people do."""

from __future__ import annotations

from branchtrack.db import runs
from tests.web.conftest import Site


def test_sizes_are_those_of_the_shell(own: Site) -> None:
    payload = own.client.get("/api/v1/storage").json
    assert payload is not None
    assert payload.keys() >= {"runs", "stored_bytes", "free_bytes", "leftover_bytes"}
    assert "digits" in {run["name"] for run in payload["runs"]}


def test_a_sweep_says_what_it_did(own: Site) -> None:
    answer = own.client.post("/api/v1/runs/digits/gc", json={"keep": "thin", "every": 10})
    assert answer.status_code == 200 and answer.json is not None
    assert answer.json["policy"] == {"keep": "thin", "every": 10}
    with own.database.read() as connection:
        assert runs.find_run(connection, "digits").retention == {"keep": "thin", "every": 10}
    assert own.client.post("/api/v1/runs/digits/gc", json={}).status_code == 200
    assert own.client.post("/api/v1/runs/digits/gc", json={"keep": 1}).status_code == 422


def test_a_dry_run_of_a_sweep_says_what_would_be_and_does_nothing(own: Site) -> None:
    path, policy = "/api/v1/runs/digits/gc", {"keep": "heads"}
    planned = own.client.post(path, json={**policy, "dry_run": True}).get_json()
    with own.database.read() as connection:
        assert runs.find_run(connection, "digits").retention is None
    done = own.client.post(path, json=policy).get_json()
    assert planned["dry_run"] and not done["dry_run"]
    same = ("run", "policy", "recipe", "weights", "branches")
    assert {key: planned[key] for key in same} == {key: done[key] for key in same}
