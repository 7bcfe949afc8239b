"""A sweep frees what nothing needs, can be interrupted anywhere, and takes nothing from others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control import deletion
from branchtrack.core.actors import Actor
from branchtrack.core.records import Node
from branchtrack.db import audit, integrity, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.storage import references, sizes, thinning
from branchtrack.errors import CheckpointThinned, Forbidden
from branchtrack.retention import plans
from branchtrack.retention.policies import Policy, policy
from branchtrack.retention.sweeps import Sweep, Swept
from tests.retention.trees import NBYTES, add_checkpoint, certify, chain, commit
from tests.trees_for_tests import Tree, make_tree


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    """A run with an empty branch ``main``."""
    return make_tree(database, store)


def sweep(tree: Tree, by: Policy, **how: Any) -> Swept:
    actor = how.pop("actor", "test")
    return Sweep(tree.database, tree.store, {}, actor, **how).run(tree.run, by)


def disk(store: Store) -> int:
    return sum(pack.nbytes for pack in store.packs())


def thinned(tree: Tree, line: list[Node]) -> list[str | None]:
    with tree.database.read() as connection:
        return [nodes.thinned(connection, node.state_digest) for node in line]


def assert_sound(tree: Tree, line: list[Node]) -> None:
    """The database is as it was written, and every whole node can be restored."""
    with tree.database.read() as connection:
        assert integrity.of_database(connection) == []
    for node, state in zip(line, thinned(tree, line), strict=True):
        if state is None:
            control.verify_node(tree.database, tree.store, node)


def test_what_is_proved_keeps_its_recipe_alone(tree: Tree) -> None:
    line = chain(tree)
    certify(tree.database, line[0], line[-1])
    before = disk(tree.store)
    swept = sweep(tree, Policy("thin"))
    assert thinned(tree, line) == [None, "recipe", "recipe", "recipe", None]
    assert swept.freed_bytes == before - disk(tree.store)
    assert 6 * NBYTES <= swept.freed_bytes
    assert swept.plan.longest == 30
    assert_sound(tree, line)


def test_what_is_not_proved_keeps_its_weights(tree: Tree) -> None:
    line = chain(tree)
    before = disk(tree.store)
    swept = sweep(tree, Policy("thin"))
    assert thinned(tree, line) == [None, "weights", "weights", "weights", None]
    assert 3 * NBYTES <= swept.freed_bytes + 3000
    assert swept.freed_bytes == before - disk(tree.store)
    with tree.database.read() as connection:
        stored = nodes.checkpoint(connection, line[1].state_digest, need="weights")
    assert {entry[0] for entry in stored.manifest["tensors"]} == {"model/frozen", "model/weight"}
    assert list(tree.store.verify(stored.locations.values())) == []
    assert_sound(tree, line)


def test_a_dry_run_says_what_a_sweep_does_and_changes_nothing(tree: Tree) -> None:
    line = chain(tree)
    certify(tree.database, line[0], line[-1])
    before = disk(tree.store)
    with tree.database.read() as connection:
        planned = plans.plan(connection, tree.run.id, Policy("thin"))
    assert disk(tree.store) == before and thinned(tree, line) == [None] * 5
    assert planned.freed_bytes == 6 * NBYTES
    (branch,) = planned.branches
    assert (branch.nodes, branch.whole, branch.recipe, branch.frees) == (5, 2, 3, 6 * NBYTES)
    assert sweep(tree, Policy("thin")).plan == planned


def test_sweeping_again_does_nothing(tree: Tree) -> None:
    line = chain(tree)
    certify(tree.database, line[0], line[-1])
    sweep(tree, Policy("thin"))
    before = disk(tree.store)
    again = sweep(tree, Policy("thin"))
    assert again.freed_bytes == 0 and again.plan.left == {} and disk(tree.store) == before


def test_the_policy_stays_with_the_run_and_is_in_its_log(tree: Tree) -> None:
    line = chain(tree)
    sweep(tree, policy("thin", every=20))
    with tree.database.read() as connection:
        assert runs.get_run(connection, tree.run.id).retention == {"keep": "thin", "every": 20}
        states = [event.state for event in audit.after(connection, tree.run.id, 0, 99)]
        assert audit.first_broken_seq(connection, tree.run.id) is None
    assert {"retention", "thinned"} <= set(states)
    assert_sound(tree, line)


def test_tensors_that_another_checkpoint_needs_stay(tree: Tree) -> None:
    line = chain(tree)
    shared = {"model/frozen": 1, "model/weight": 20, "optimizer/weight": 99}
    line.append(commit(tree, "main", 50, line[-1], tensors=shared))
    certify(tree.database, line[0], line[-1])
    sweep(tree, Policy("thin"))
    assert thinned(tree, line)[2] == "recipe"
    assert_sound(tree, line)


def test_a_state_that_another_run_has_stays(tree: Tree) -> None:
    line = chain(tree)
    certify(tree.database, line[0], line[-1])
    other = make_tree(tree.database, tree.store, "other")
    commit(other, "main", 10, None, "root")
    sweep(tree, Policy("thin"))
    assert thinned(tree, line) == [None, None, "recipe", "recipe", None]


class Killed(BaseException):
    """Ends a sweep as a signal would."""


def killed_at(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose call of that number ends the sweep instead."""
    calls = iter(range(100))

    def kill(*values: Any) -> Any:
        if next(calls) == number:
            raise Killed
        return function(*values)

    return kill


@pytest.mark.parametrize("certified", [True, False])
def test_a_sweep_that_is_interrupted_anywhere_is_finished_by_the_next(
    sqlite_database: Database, store: Store, certified: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(make_tree(sqlite_database, store), certified, monkeypatch)


@pytest.mark.exhaustive
def test_an_interrupted_sweep_is_finished_on_each_database(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(tree, True, monkeypatch)


def interrupt(tree: Tree, certified: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill a sweep at every step of it, and sweep once more."""
    line = chain(tree, count=4)
    if certified:
        certify(tree.database, line[0], line[-1])
    steps = ("mark", "forget_tensors", "announce", "move", "forget_packs", "lock_store")
    for name in steps:
        for number in range(3):
            with monkeypatch.context() as patch:
                patch.setattr(thinning, name, killed_at(number, getattr(thinning, name)))
                with suppress(Killed):
                    sweep(tree, Policy("thin"))
            assert_sound(tree, line)
    for name in ("put", "delete"):
        with monkeypatch.context() as patch:
            patch.setattr(tree.store, name, killed_at(0, getattr(tree.store, name)))
            with suppress(Killed):
                sweep(tree, Policy("thin"))
        assert_sound(tree, line)
    sweep(tree, Policy("thin"))
    left = "recipe" if certified else "weights"
    assert thinned(tree, line) == [None, left, left, None]
    with tree.database.read() as connection:
        assert plans.garbage(connection) == {} and thinning.unread(connection) == []
        named = sizes.pack_bytes(connection)
    assert {pack.id: pack.nbytes for pack in tree.store.packs()} == named
    assert_sound(tree, line)


def test_a_file_that_is_gone_already_is_no_trouble(tree: Tree) -> None:
    line = chain(tree)
    certify(tree.database, line[0], line[-1])
    with tree.database.read() as connection:
        stored = nodes.checkpoint(connection, line[2].state_digest)
    own = next(loc for loc in stored.locations.values() if loc.name == "model/weight")
    Path(tree.store.describe(own.pack)).unlink()
    sweep(tree, Policy("thin"))
    assert_sound(tree, line)


def test_a_pack_that_cannot_be_read_stays_as_it_is(tree: Tree) -> None:
    line = chain(tree)
    with tree.database.read() as connection:
        stored = nodes.checkpoint(connection, line[2].state_digest)
    own = next(loc for loc in stored.locations.values() if loc.name == "model/weight")
    path = Path(tree.store.describe(own.pack))
    path.write_bytes(path.read_bytes()[:-9])
    swept = sweep(tree, Policy("thin"))
    assert swept.unreadable == (own.pack,) and path.exists()


def test_a_commit_during_a_sweep_gets_all_that_it_shares(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is made after the sweep has decided what is unused, before it removes that."""
    line = chain(tree)
    certify(tree.database, line[0], line[-1])
    lock = thinning.lock_store
    calls = iter(range(100))
    shared = {"model/frozen": 1, "model/weight": 20, "optimizer/weight": 30}

    def commit_first(connection: Any) -> None:
        # The first lock is that of the marks, the second that of the first packs.
        if next(calls) == 0:
            original = Sweep.collect

            def collect(self: Sweep) -> Any:
                garbage = plans.garbage

                def late(connection: Any, *rest: Any) -> Any:
                    found = garbage(connection, *rest)
                    if rest == ():
                        line.append(commit(tree, "main", 50, line[-1], tensors=shared))
                    return found

                monkeypatch.setattr(plans, "garbage", late)
                return original(self)

            monkeypatch.setattr(Sweep, "collect", collect)
        lock(connection)

    monkeypatch.setattr(thinning, "lock_store", commit_first)
    sweep(tree, Policy("thin"))
    assert len(line) == 6 and thinned(tree, line)[-1] is None
    assert_sound(tree, line)


def test_what_is_protected_since_the_plan_is_not_thinned(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = chain(tree)
    certify(tree.database, line[0], line[-1])
    mark = Sweep._mark

    def pin_first(self: Sweep, plan: plans.Plan) -> None:
        with tree.database.transaction() as connection:
            thinning.set_pinned(connection, line[2], True, "test")
        mark(self, plan)

    monkeypatch.setattr(Sweep, "_mark", pin_first)
    sweep(tree, Policy("thin"))
    assert thinned(tree, line) == [None, "recipe", None, "recipe", None]
    assert_sound(tree, line)


def test_the_same_state_committed_again_is_whole_again(tree: Tree) -> None:
    line = chain(tree)
    certify(tree.database, line[0], line[-1])
    sweep(tree, Policy("thin"))
    with pytest.raises(CheckpointThinned) as error, tree.database.read() as connection:
        nodes.checkpoint(connection, line[2].state_digest)
    assert error.value.node == line[2].id
    tensors = {"model/frozen": 1, "model/weight": 20, "optimizer/weight": 20}
    assert add_checkpoint(tree.database, tree.store, tensors, {}) == line[2].state_digest
    assert thinned(tree, line)[2] is None
    assert_sound(tree, line)


def test_a_viewer_or_an_agent_may_not_sweep(tree: Tree) -> None:
    chain(tree)
    for role in ("viewer", "agent"):
        with pytest.raises(Forbidden):
            sweep(tree, Policy("thin"), actor=Actor("x", role, "api", "t"))


def test_a_purge_is_swept_away_and_sound_before(tree: Tree) -> None:
    line = chain(tree)
    tree.branch("side", line[1])
    fork = commit(tree, "side", line[1].step, line[1], "fork")
    commit(tree, "side", line[1].step + 1, fork)
    for name in ("main", "side"):
        tree.end(name)
    before = disk(tree.store)
    control.delete(tree.database, "demo/side", actor="ann")
    with tree.database.read() as connection:
        entry = deletion.find(connection, "demo/side")
    deletion.purge(tree.database, entry, actor="ann")
    # As after a kill -9 before the sweep.
    assert_sound(tree, line)
    assert disk(tree.store) == before
    freed, unreadable = Sweep(tree.database, tree.store, {}, "test").collect()
    assert freed > 0 and not unreadable and disk(tree.store) == before - freed
    assert_sound(tree, line)
    with tree.database.read() as connection:
        assert len(references.states(connection)) == len(line)
