"""What retention writes is sealed, and names a pack until its file is gone."""

from __future__ import annotations

from branchtrack.checkpoints.packs import Store
from branchtrack.db import integrity, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.storage import thinning
from tests.retention.trees import NBYTES, chain
from tests.trees_for_tests import make_tree


def test_marks_say_how_much_is_left(database: Database, store: Store) -> None:
    line = chain(make_tree(database, store), count=4)
    with database.transaction() as connection:
        thinning.mark(connection, {line[1].state_digest: "recipe", line[2].state_digest: "weights"})
    with database.read() as connection:
        stored = [
            nodes.checkpoint(connection, node.state_digest, need="record") for node in line[1:3]
        ]
        assert integrity.of_database(connection) == []
    assert [(item.thinned, item.stored_bytes) for item in stored] == [
        ("recipe", 0),
        ("weights", 2 * NBYTES),
    ]


def test_a_pack_is_named_until_its_file_is_deleted(database: Database, store: Store) -> None:
    line = chain(make_tree(database, store), count=2)
    with database.read() as connection:
        assert thinning.unread(connection) == []
        stored = nodes.checkpoint(connection, line[1].state_digest)
    own = next(loc.pack for loc in stored.locations.values() if loc.name == "model/weight")
    with database.transaction() as connection:
        thinning.lock_store(connection)
        thinning.mark(connection, {line[1].state_digest: "recipe"})
        in_pack = thinning.in_pack(connection, own)
        assert {loc.name for loc in in_pack} == {"model/weight", "optimizer/weight"}
        thinning.forget_tensors(connection, [loc.digest for loc in in_pack])
        thinning.announce(connection, ("a" * 32, 5))
    with database.transaction() as connection:
        thinning.share_store(connection)
        sizes = dict(thinning.unread(connection))
        assert sizes.keys() == {own, "a" * 32} and sizes["a" * 32] == 5
        thinning.forget_packs(connection, list(sizes))
        assert thinning.unread(connection) == []
    with database.read() as connection:
        assert integrity.of_database(connection) == []


def test_a_policy_is_recorded_once(database: Database, store: Store) -> None:
    run = make_tree(database, store).run
    for policy in ({"keep": "thin"}, {"keep": "thin"}, None):
        with database.transaction() as connection:
            thinning.set_policy(connection, runs.get_run(connection, run.id), policy, "ada")
            assert runs.get_run(connection, run.id).retention == policy
            names = [found.name for found in runs.with_policy(connection)]
        assert names == (["demo"] if policy else [])
    with database.read() as connection:
        assert integrity.of_database(connection) == []
