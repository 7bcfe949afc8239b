"""What a process resumes is found from the node that it was started for."""

from __future__ import annotations

from typing import Any

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Change
from branchtrack.db.engine import Database
from branchtrack.training.session.base import (
    Base,
    BaseSession,
    UnrecordedSession,
    origin,
    reshuffles,
)
from tests.trees_for_tests import make_forked_tree


def test_what_was_declared_on_the_way_adds_up(sqlite_database: Database, store: Store) -> None:
    tree, made = make_forked_tree(sqlite_database, store)
    tree.branch("again", made[1])
    first = (Change("lr", 0.01, 0.001), Change("batch_size", 8, 4))
    fork = tree.node("again", 10, made[1], kind="fork", changes=first)
    tree.branch("later", fork)
    second = (Change("lr", 0.001, 0.002),)
    last = tree.node("later", 10, fork, kind="fork", changes=second)
    with sqlite_database.read() as connection:
        trained, declared = origin(connection, last)
        assert origin(connection, made[1]) == (made[1], {})
    assert trained.id == made[1].id and declared == {"lr": 0.002, "batch_size": 4}


def test_each_redraw_on_the_way_has_the_seed_of_its_own_fork(
    sqlite_database: Database, store: Store
) -> None:
    tree, made = make_forked_tree(sqlite_database, store)
    tree.branch("again", made[1])
    redrawn = (Change("reshuffle", None, True), Change("stop_at", None, 20))
    seeded = {"settings": {"lr": 0.1, "seed": 7}}
    fork = tree.node("again", 10, made[1], kind="fork", changes=redrawn, **seeded)
    tree.branch("later", fork)
    other = {"settings": {"lr": 0.1, "seed": 8}}
    last = tree.node("later", 10, fork, kind="fork", changes=(Change("seed", 7, 8),), **other)
    snapshot: Any = None
    with sqlite_database.read() as connection:
        assert reshuffles(connection, made[1]) == ()
        assert reshuffles(connection, fork) == reshuffles(connection, last) == (7,)
        bases = [
            Base(node, snapshot, *origin_of, reshuffles=reshuffles(connection, node))
            for node in (fork, last)
            for origin_of in [(made[1], "exact", origin(connection, node)[1])]
        ]
    assert [base.seed for base in bases] == [7, 8]
    assert [base.stop_at for base in bases] == [20, None], "only the fork's own holds"


class Attributes:
    """Objects of which one has another value after it was restored, and one none at all."""

    def restore(self, _stored: Any) -> None:
        pass

    def differing(self, _stored: Any) -> dict[str, tuple[Any, Any]]:
        return {"mean": (1, 2)}

    def omitted(self, _stored: Any) -> list[str]:
        return ["file"]


def test_what_was_not_restored_is_noted(sqlite_database: Database, store: Store) -> None:
    session = BaseSession(sqlite_database, store, None)
    live: Any = type("Live", (), {"attributes": Attributes()})()
    session.restore_attributes(live, {})
    assert session.unrestored == {"mean": (1, 2)} and session.not_restored == ["file"]


def test_a_session_without_a_segment_takes_every_call(
    sqlite_database: Database, store: Store
) -> None:
    session, live = UnrecordedSession(sqlite_database, store, None), None
    session.before_update(live, 1)
    session.after_update(live)
    session.finish_update(live)
    session.log(1, {"loss": 0.5})
    session.note_evaluation(1)
    session.when_durable(lambda _: None)
    assert not session.is_reading and session.own_branch() is None
