"""A home that can only be read is looked at with every command that looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config
from branchtrack.db import readonly
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.web.app import create_app
from tests.cli.conftest import Call
from tests.trees_for_tests import make_forked_tree


@pytest.fixture
def home(sqlite_config: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A home with a run ``demo``, of which nothing can be written."""
    database = open_database(sqlite_config, create=True)
    make_forked_tree(database, open_store(sqlite_config.store))
    database.close()
    monkeypatch.setattr(readonly, "is_read_only", Path.is_file)
    return sqlite_config


LOOKS = (
    "runs",
    "tree demo",
    "curve demo loss",
    "show demo/cooler",
    "verify --all",
    "diff demo/main demo/cooler",
    "audit demo",
    "audit demo --verify",
)


@pytest.mark.parametrize("command", LOOKS)
def test_what_looks_works(command: str, home: Config, call: Call) -> None:
    assert call(*command.split()).code == 0
    assert {path.name for path in home.home.glob("branchtrack.db*")} == {"branchtrack.db"}


def test_an_export_goes_elsewhere(home: Config, call: Call, tmp_path: Path) -> None:
    assert call("export", "demo/cooler", str(tmp_path / "out")).code == 0


@pytest.mark.parametrize("command", ["resume demo/main", "stop demo", "worker", "db upgrade"])
def test_what_changes_is_refused_before_anything_is_done(
    command: str, home: Config, call: Call
) -> None:
    found = call(*command.split())
    if command == "db upgrade":
        assert found.code == 0
    else:
        assert found.code == 2 and "can only be read" in found.err + found.out


def test_the_pages_say_so_and_open_all_the_same(home: Config) -> None:
    database = Database(home.database_url)
    app = create_app(home, database, open_store(home.store), token=None)
    client = app.test_client()
    for path in ("/", "/runs/demo", "/runs/demo/audit"):
        page = client.get(path, follow_redirects=True)
        assert page.status_code == 200 and "This home is read-only" in page.get_data(as_text=True)
    database.close()
