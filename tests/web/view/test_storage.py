"""A policy is entered by fields, of which empty ones are not part."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config
from branchtrack.db.engine import Database
from branchtrack.environment_variables import STORE_VARIABLE
from branchtrack.errors import InvalidInput
from branchtrack.web.app import create_app
from branchtrack.web.view import storage
from tests.trees_for_tests import make_tree
from tests.web.conftest import Site


def test_empty_fields_are_not_part_of_a_policy() -> None:
    fields = dict.fromkeys(storage.FIELDS, "") | {"keep": "heads", "last": "3"}
    assert storage.entered_policy(fields).as_json() == {"keep": "heads", "last": 3}
    with pytest.raises(InvalidInput):
        storage.entered_policy({"last": "3"})


def test_pages_and_answers_work_over_a_bucket(
    bucket: str,
    sqlite_config: Config,
    sqlite_database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    store = open_store(sqlite_config.store)
    node = make_tree(sqlite_database, store).node("main", 3, kind="root")
    app = create_app(sqlite_config, sqlite_database, store, token=None)
    site = Site(app, sqlite_config, sqlite_database, store, {})
    for path in ("/storage", f"/nodes/{node.id}", "/api/v1/storage", f"/api/v1/nodes/{node.id}"):
        answer = site.client.get(path)
        assert answer.status_code == 200, path
        assert "AWS" not in answer.get_data(as_text=True)
    # While it is away, pages that need nothing of it are as always.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = open_store(sqlite_config.store)
    app = create_app(sqlite_config, sqlite_database, away, token=None)
    site = Site(app, sqlite_config, sqlite_database, away, {})
    assert site.client.get(f"/nodes/{node.id}").status_code == 200
    answer = site.client.get("/storage")
    assert answer.status_code == 503 and "cannot be reached" in answer.get_data(as_text=True)
