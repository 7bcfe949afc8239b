"""What ran, for shell, page and API."""

from __future__ import annotations

from branchtrack.analysis import payloads_code
from branchtrack.checkpoints.packs import Store
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.db.storage import texts
from tests.trees_for_tests import make_forked_tree


def test_it_has_the_texts_and_not_their_digests(database: Database, store: Store) -> None:
    tree, made = make_forked_tree(database, store)
    with database.transaction() as connection:
        assert payloads_code.code(connection, made[3]) is None
        digests = {"diff": texts.put(connection, "-a\n+b\n"), "packages": "0" * 64}
        facts = {"command": ["python", "a b.py"], "commit": "c" * 40, "sources": {"a.py": "1"}}
        segments.set_code(connection, tree.segment("main").id, {**facts, **digests})
    with database.read() as connection:
        code = payloads_code.code(connection, made[3])
    assert code is not None
    assert (code["command"], code["diff"]) == ("python 'a b.py'", "-a\n+b\n")
    assert (code["packages"], code["sources"], code["untracked"]) == ([], ["a.py"], [])
