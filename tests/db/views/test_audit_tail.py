"""The newest events are read with the standard library alone, or left to the full query."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from branchtrack.checkpoints.packs import Store
from branchtrack.db import audit
from branchtrack.db.engine import Database
from branchtrack.db.views import audit_tail
from tests.trees_for_tests import make_forked_tree


def test_the_quick_look_sees_what_the_full_one_does(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    with tree.database.read() as connection:
        whole = audit.newest(connection, tree.run.id, 5)
    assert audit_tail.newest(tree.database.url, "demo", 5) == whole
    assert audit_tail.newest(tree.database.url, tree.run.id, 5) is None
    assert audit_tail.newest("postgresql+psycopg://x/y", "demo", 5) is None


def test_what_is_unusual_is_left_to_the_full_query(
    sqlite_database: Database, store: Store, tmp_path: Path
) -> None:
    make_forked_tree(sqlite_database, store)
    assert audit_tail.newest(f"{sqlite_database.url}?mode=ro", "demo", 5) is None
    assert audit_tail.newest(f"sqlite:///{tmp_path}/none.db", "demo", 5) is None
    (tmp_path / "text.db").write_text("no database")
    assert audit_tail.newest(f"sqlite:///{tmp_path}/text.db", "demo", 5) is None
    assert not (tmp_path / "none.db").exists()


def test_a_database_of_another_version_is_left_to_the_full_query(
    sqlite_database: Database, store: Store
) -> None:
    make_forked_tree(sqlite_database, store)
    with sqlite_database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert audit_tail.newest(sqlite_database.url, "demo", 5) is None
