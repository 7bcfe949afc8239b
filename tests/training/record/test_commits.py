"""A commit stores what is new, once; a load gives back what was committed, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select

from branchtrack.core.records import Branch, NewNode, Node, Segment
from branchtrack.db import nodes, requests, runs, seals, segments
from branchtrack.db.tables import packs
from branchtrack.errors import CheckpointDamaged, CheckpointMissing, StorageError
from branchtrack.training.record import commits
from branchtrack.training.state.snapshots import Snapshot
from branchtrack.training.steer.answers import Answer
from tests.training.homes import Home


class Place:
    """A run to commit into."""

    def __init__(self, home: Home) -> None:
        self.home = home
        with home.database.transaction() as connection:
            self.run = runs.create_run(connection, "tiny", actor="test")
            branch = runs.create_branch(connection, self.run.id, "main")
            made = segments.create(connection, self.run.id, branch.id, None, 0)
            self.segment: Segment = segments.take(
                connection, made.id, actor="t", declared=[], settings={}, max_steps=9
            )
            self.branch: Branch = runs.get_branch(connection, branch.id)

    def commit(self, tensors: dict[str, torch.Tensor], *answers: Answer, **state: Any) -> Node:
        """Commit tensors and state at step 3."""
        database, store = self.home.database, self.home.store
        digested = commits.digests(Snapshot(tensors, {"rest": state}))
        fresh = commits.missing(database, store, digested)
        pack = store.put(fresh, {}) if fresh else None
        return commits.record(database, store, digested, pack, self.new(), answers, "run")[0]

    def new(self) -> NewNode:
        """A node at step 3 that lacks its state digest."""
        return NewNode(
            run_id=self.run.id,
            branch_id=self.branch.id,
            segment_id=self.segment.id,
            parent_id=None,
            step=3,
            epoch=0.5,
            kind="checkpoint",
            state_digest="",
            settings={"lr": 0.1},
            param_groups=[{"lr": 0.1}],
        )

    def packs(self) -> list[Path]:
        """The packs on disk."""
        return sorted((self.home.config.store / "packs").rglob("*.safetensors"))


@pytest.fixture
def place(home: Home) -> Place:
    """A run in a home of its own."""
    return Place(home)


def some() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "model/a": torch.randn(8, 4, generator=generator),
        "model/b": torch.randn(5, generator=generator).to(torch.bfloat16),
        "model/empty": torch.empty(0, 3),
        "optimizer/a/step": torch.tensor(7.0),
    }


def test_what_was_committed_is_loaded_bit_for_bit(place: Place) -> None:
    node = place.commit(some(), counter=4)
    found = place.home.snapshot(node)
    assert found.tensors.keys() == some().keys() and found.state == {"rest": {"counter": 4}}
    assert found.param_groups == [{"lr": 0.1}]
    for name, tensor in some().items():
        assert torch.equal(found.tensors[name], tensor)
        assert found.tensors[name].dtype == tensor.dtype


def test_what_is_loaded_can_be_written_to(place: Place) -> None:
    for tensor in place.home.snapshot(place.commit(some())).tensors.values():
        tensor.add_(1)


def test_a_second_commit_stores_only_what_is_new(place: Place) -> None:
    place.commit(some())
    changed = {**some(), "model/b": torch.zeros(5)}
    place.commit(changed)
    sizes = [path.stat().st_size for path in place.packs()]
    assert len(sizes) == 2 and min(sizes) < max(sizes)
    node = place.commit(changed)
    assert len(place.packs()) == 2
    assert torch.equal(place.home.snapshot(node).tensors["model/b"], torch.zeros(5))


def test_tensors_that_are_equal_are_stored_once(place: Place) -> None:
    same = torch.ones(1000)
    node = place.commit({"model/a": same, "model/b": same, "model/c": torch.ones(1000)})
    with place.home.database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest)
    assert (stored.tensors, len(stored.locations)) == (3, 1)
    assert stored.logical_bytes == 12000 and stored.stored_bytes < 8000


def test_equal_bytes_of_another_kind_are_not_equal_tensors(place: Place) -> None:
    zeros = {"a": torch.zeros(4), "b": torch.zeros(2, 2), "c": torch.zeros(4, dtype=torch.int32)}
    node = place.commit(zeros)
    found = place.home.snapshot(node).tensors
    assert {name: (t.dtype, t.shape) for name, t in found.items()} == {
        name: (t.dtype, t.shape) for name, t in zeros.items()
    }


def test_a_commit_can_be_tried_again_after_the_disk_failed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StorageError("full")

    with monkeypatch.context() as patch:
        patch.setattr(nodes, "commit", fail)
        with pytest.raises(StorageError):
            place.commit(some())
    with place.home.database.read() as connection:
        assert nodes.list_ids(connection) == []
        assert nodes.packs_of(connection, commits.digests(Snapshot(some()))[1]) == {}
    node = place.commit(some())
    assert len(place.packs()) == 1 and place.home.snapshot(node).tensors.keys() == some().keys()


def test_a_node_without_its_pack_does_not_load(place: Place) -> None:
    node = place.commit(some())
    place.packs()[0].unlink()
    with pytest.raises(CheckpointMissing):
        place.home.snapshot(node)


def test_a_node_with_one_flipped_bit_does_not_load(place: Place) -> None:
    node = place.commit(some())
    pack = place.packs()[0]
    data = bytearray(pack.read_bytes())
    data[-1] ^= 1
    pack.write_bytes(data)
    with pytest.raises(CheckpointDamaged):
        place.home.snapshot(node)


def test_the_node_and_its_answers_come_in_one_transaction(place: Place) -> None:
    asked = [place.home.ask("checkpoint") for _ in range(2)]
    node = place.commit(some(), Answer(asked[0], "done", result={"x": 1}), Answer(asked[1], "done"))
    found = [place.home.request(request.id) for request in asked]
    assert [(r.state, r.node_id, r.step) for r in found] == [("done", node.id, 3)] * 2
    assert found[0].result == {"x": 1}


def test_an_answer_to_a_request_that_is_over_costs_no_node(place: Place) -> None:
    asked = place.home.ask("checkpoint")
    with place.home.database.transaction() as connection:
        requests.move(connection, asked.id, "cancelled", actor="ann")
    node = place.commit(some(), Answer(asked, "done"))
    assert place.home.nodes() == [node]
    assert place.home.request(asked.id).state == "cancelled"


def named(place: Place) -> list[str]:
    """The packs that the database names."""
    with place.home.database.read() as connection:
        return sorted(connection.execute(select(packs.c.id)).scalars())


def test_a_pack_whose_tensors_another_process_committed_first_is_not_named(place: Place) -> None:
    database, store = place.home.database, place.home.store
    digested = commits.digests(Snapshot(some(), {}))
    late = store.put(commits.missing(database, store, digested), {"process": "late"})
    first = place.commit(some())
    (before,) = named(place)
    second, is_named = commits.record(database, store, digested, late, place.new(), (), "run")
    assert not is_named and named(place) == [before]
    with database.read() as connection:
        assert nodes.checkpoint(connection, second.state_digest).stored_bytes == 0
    store.discard(late.id)
    assert [path.stem for path in place.packs()] == [before]
    assert place.home.snapshot(first).tensors.keys() == place.home.snapshot(second).tensors.keys()


def test_a_pack_that_holds_anything_new_is_named(place: Place) -> None:
    database, store = place.home.database, place.home.store
    digested = commits.digests(Snapshot({**some(), "model/c": torch.ones(9)}, {}))
    late = store.put(commits.missing(database, store, digested), {})
    place.commit(some())
    assert commits.record(database, store, digested, late, place.new(), (), "run")[1]
    assert len(named(place)) == 2


def test_a_pack_that_is_gone_is_no_longer_named_once_its_tensors_were_written_again(
    place: Place,
) -> None:
    first = place.commit(some())
    place.packs()[0].unlink()
    place.commit({**some(), "model/c": torch.ones(9)})
    assert named(place) == [path.stem for path in place.packs()] != []
    assert place.home.snapshot(first).tensors.keys() == some().keys()
    with place.home.database.read() as connection:
        assert list(seals.broken(connection, packs)) == []
