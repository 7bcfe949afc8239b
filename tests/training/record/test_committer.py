"""Commits cost little: of the training thread, of the disk, and of what is written twice."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Change
from branchtrack.db import integrity, nodes
from branchtrack.db.storage import thinning
from branchtrack.errors import StorageError
from branchtrack.retention.sweeps import Sweep
from branchtrack.training.record import commits, committer, intervals
from branchtrack.training.steer.answers import Answer
from tests.training.counting import counted
from tests.training.desks import Desk
from tests.training.homes import Home

Open = Callable[[torch.nn.Module], Desk]


@pytest.fixture
def at(home: Home) -> Iterator[Open]:
    """Makes a desk, and clears it up."""
    made: list[Desk] = []

    def make(model: torch.nn.Module) -> Desk:
        made.append(Desk(home, model))
        return made[-1]

    yield make
    for desk in made:
        desk.close()


def mostly_frozen() -> torch.nn.Module:
    """Ten layers of equal size, of which the last alone is trained."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(400, 1000, bias=False) for _ in range(10)]
    for layer in layers[:-1]:
        layer.requires_grad_(False)
    return torch.nn.Sequential(*layers)


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all that is hashed from now on."""
    found: list[int] = []
    digest = commits.tensor_digest

    def noted(dtype: str, shape: tuple[int, ...], data: Any) -> str:
        found.append(len(data))
        return digest(dtype, shape, data)

    monkeypatch.setattr(commits, "tensor_digest", noted)
    return found


def test_an_unchanged_state_adds_two_thousandths_of_a_full_commit_at_most(at: Open) -> None:
    desk = at(torch.nn.Linear(2000, 1000))
    before = desk.on_disk()
    desk.update()
    desk.commit(1)
    full = desk.on_disk() - before
    for step in range(2, 8):
        before = desk.on_disk()
        assert desk.commit(step)
        assert desk.on_disk() - before <= 0.002 * full


def test_ten_nodes_of_a_model_mostly_frozen_store_what_is_trained_alone(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = at(mostly_frozen())
    desk.update()
    desk.commit(0)
    full, lengths = desk.packs(), hashed(monkeypatch)
    trained = 3 * 4 * 400 * 1000
    for step in range(1, 11):
        desk.update()
        assert desk.commit(step)
    assert desk.packs() <= 1.005 * (full + 10 * trained)
    assert sum(lengths) <= 1.005 * 10 * trained, "what is frozen is not hashed again"


@pytest.mark.parametrize("layers", [1, 60])
def test_a_commit_is_four_fsyncs_one_pack_and_one_transaction(at: Open, layers: int) -> None:
    desk = at(torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(layers))))
    desk.commit(0)
    for step in range(1, 6):
        desk.update()
        with counted() as counts:
            assert desk.commit(step)
        assert (counts["replace"], counts["transactions"]) == (1, 1)
        # SQLite syncs its log once a transaction.
        assert counts["fsync"] + counts["transactions"] <= 4


def test_a_commit_of_an_unchanged_state_writes_no_file(at: Open) -> None:
    desk = at(torch.nn.Linear(4, 4))
    desk.commit(0)
    with counted() as counts:
        desk.commit(1)
    assert (counts["fsync"], counts["replace"], counts["transactions"]) == (0, 0, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.data.add_(1),
        lambda p: p.detach().numpy().__iadd__(1),
        lambda p: p.data.view(torch.int32).view(-1)[:1].add_(1),
    ],
    ids=["data", "numpy", "a bit or two"],
)
def test_a_frozen_parameter_that_is_changed_all_the_same_has_its_new_bytes_stored(
    at: Open, change: Callable[[torch.Tensor], object]
) -> None:
    desk = at(mostly_frozen())
    frozen = next(desk.model.parameters())
    digests = set()
    for step in range(4):
        (node,) = desk.commit(step)
        found = desk.home.snapshot(node).tensors["model/0.weight"]
        assert torch.equal(found, frozen)
        digests.add(node.state_digest)
        change(frozen)
    assert len(digests) == 4


def held_up(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Writing a pack waits for this event from now on."""
    release, put = threading.Event(), Store.put

    def slowly(self: Store, *given: Any) -> Any:
        assert release.wait(60)
        return put(self, *given)

    monkeypatch.setattr(Store, "put", slowly)
    return release


def test_a_commit_that_comes_early_waits_for_the_one_before_and_says_how_long(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = at(torch.nn.Linear(4, 4))
    release = held_up(monkeypatch)
    first = desk.commit(1, wait=False)
    weights = desk.model.weight.clone()
    desk.update()
    threading.Timer(0.3, release.set).start()
    (second,) = desk.commit(2)
    found = desk.home.snapshot(first[0]).tensors["model/weight"]
    assert torch.equal(found, weights), "the first kept its buffers until it was durable"
    assert second.parent_id == first[0].id
    desk.close()
    waits = desk.home.points(committer.WAIT_MS, desk.segment.id)
    assert waits[1] < 100 and 200 < waits[2] < 5000
    assert set(desk.home.points(committer.COPY_MS, desk.segment.id)) == {1, 2}


def test_a_write_that_takes_long_is_waited_for_however_long_it_takes(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 0.5)
    desk = at(torch.nn.Linear(4, 4))
    release = held_up(monkeypatch)
    desk.commit(1, wait=False)
    desk.update()
    threading.Timer(1.0, release.set).start()
    assert desk.commit(2) and [node.step for node in desk.home.nodes()] == [1, 2]


def test_a_database_that_another_holds_is_waited_for_as_long_as_patience_lasts(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 0.3)
    desk = at(torch.nn.Linear(4, 4))
    desk.commit(0)
    request = desk.asked()
    holder = desk.home.database.engine.raw_connection()
    holder.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    first = desk.commit(1, wait=False)
    second = desk.commit(2, Answer(request, "done"), wait=False)
    third = desk.commit(3, wait=False)
    assert time.monotonic() - started < 30, "training is held up no longer"
    holder.execute("ROLLBACK")
    holder.close()
    assert desk.committer.free.wait(60) and first and not second and not third
    assert desk.commit(4)
    desk.close()
    found = desk.home.request(request.id)
    assert found.state == "failed" and "has not answered for 0.3 seconds" in (found.error or "")
    assert [node.step for node in desk.home.nodes()] == [0, 1, 4]


def test_a_commit_that_is_tried_again_does_not_write_its_pack_again(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "POLL_SECONDS", 0.01)
    desk, commit, tries = at(torch.nn.Linear(4, 4)), nodes.commit, [0]

    def failing(*given: Any) -> Any:
        tries[0] += 1
        if tries[0] < 4:
            raise StorageError("The database failed.")
        return commit(*given)

    monkeypatch.setattr(nodes, "commit", failing)
    lengths = hashed(monkeypatch)
    with counted() as counts:
        assert desk.commit(1)
    assert tries[0] == 4 and counts["replace"] == 1
    assert sum(lengths) < 2 * desk.packs()


def test_the_memory_of_snapshots_is_made_behind_the_first_update(at: Open) -> None:
    desk = at(torch.nn.Linear(4, 4))
    desk.commit(0)
    desk.update()
    desk.committer.prepare(desk.live)
    assert desk.committer.free.wait(60)
    held = desk.committer._buffers._held
    ahead = {name: one.tensor.data_ptr() for name, one in held.items()}
    assert {"optimizer/weight/exp_avg", "model/weight", "rng/torch"} <= ahead.keys()
    desk.committer.prepare(desk.live)
    assert desk.commit(1)
    held = desk.committer._buffers._held
    assert {name: one.tensor.data_ptr() for name, one in held.items()} == ahead


def test_a_state_that_cannot_be_captured_costs_its_node_alone(at: Open) -> None:
    desk = at(torch.nn.Linear(4, 4))
    desk.model.register_buffer("odd", torch.zeros(2, dtype=torch.complex64))
    desk.committer.prepare(desk.live)
    assert desk.commit(0) == []
    assert "complex" in desk.recorder.trouble
    del desk.model.odd
    assert desk.commit(1) and not desk.recorder.trouble


def test_a_store_that_was_removed_gets_all_that_a_node_needs_again(at: Open, home: Home) -> None:
    desk = at(mostly_frozen())
    desk.commit(0)
    shutil.rmtree(home.config.store)
    desk.update()
    (node,) = desk.commit(1)
    found = home.snapshot(node).tensors
    for name, parameter in desk.model.named_parameters():
        assert torch.equal(found[f"model/{name}"], parameter)


def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Says whether the disk is full from now on."""
    put, state = Store.put, [False]

    def limited(self: Store, *given: Any) -> Any:
        if state[0]:
            raise StorageError("The disk is full.", path="x")
        return put(self, *given)

    monkeypatch.setattr(Store, "put", limited)
    return lambda now: state.__setitem__(0, now)


def in_trouble(desk: Desk) -> None:
    """Wait until a commit has failed."""
    deadline = time.monotonic() + 60
    while not desk.recorder.trouble:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_change_whose_commit_failed_is_listed_by_the_next_node(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, is_full = at(torch.nn.Linear(4, 4)), full(monkeypatch)
    desk.commit(0)
    is_full(True)
    desk.update()
    assert not desk.commit(1, wait=False, before=1.0, after=2.0)
    assert not desk.commit(2, wait=False, before=2.0, after=3.0)
    last = desk.commit(3, wait=False)
    assert not last
    is_full(False)
    assert desk.committer.free.wait(60)
    (node,) = last
    assert (node.step, node.kind) == (3, "intervention"), "the newest state is tried on"
    assert node.changes == (Change("lr", 1.0, 3.0, 2),)
    assert node.message == "lr was changed at step 1, where no node could be created"
    desk.update()
    (after,) = desk.commit(5)
    assert after.changes == () and (after.kind, after.message) == ("checkpoint", "")


def test_trouble_is_over_with_the_next_commit_that_works(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, is_full = at(torch.nn.Linear(4, 4)), full(monkeypatch)
    is_full(True)
    desk.commit(1, wait=False)
    in_trouble(desk)
    desk.commit(2, wait=False)
    assert "disk is full" in desk.recorder.trouble
    is_full(False)
    assert desk.committer.free.wait(60)
    assert not desk.recorder.trouble and desk.close() == []
    told = [(e.state, e.step, e.reason) for e in desk.home.events("trouble")]
    assert told == [("begun", 1, "The disk is full."), ("over", 2, "")]


@pytest.mark.parametrize("number", [1, 3])
def test_an_error_of_the_disk_that_passes_costs_nothing(
    number: int, at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, put, tries = at(torch.nn.Linear(4, 4)), Store.put, [0]

    def failing(self: Store, *given: Any) -> Any:
        tries[0] += 1
        if tries[0] <= number:
            raise StorageError("Input/output error.", path="x")
        return put(self, *given)

    monkeypatch.setattr(Store, "put", failing)
    made = desk.commit(1, kind="final", wait=False)
    assert desk.close() == [] and [node.kind for node in made] == ["final"]
    assert tries[0] == number + 1 and desk.committer.lost is None


def test_what_the_disk_never_takes_is_given_up_at_the_end_with_the_reason(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "END_SECONDS", 0.2)
    desk = at(torch.nn.Linear(4, 4))
    full(monkeypatch)(True)
    request = desk.asked()
    desk.commit(1, Answer(request, "done"), kind="final", wait=False)
    assert any("disk is full" in line for line in desk.close())
    assert desk.committer.lost == "The disk is full." and desk.committer.fails
    found = desk.home.request(request.id)
    assert found.state == "failed" and "disk is full" in (found.error or "")


def test_what_others_wait_for_is_not_held_up_by_a_disk_for_long(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 0.2)
    desk = at(torch.nn.Linear(4, 4))
    full(monkeypatch)(True)
    request = desk.asked("evaluate")
    desk.commit(1, wait=False)
    desk.committer.answer([Answer(request, "done", result={})], 1)
    assert desk.committer.free.wait(60)
    deadline = time.monotonic() + 60
    while desk.home.request(request.id).state != "done":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_save_that_cannot_be_made_is_made_as_soon_as_it_can(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 0.1)
    desk = at(torch.nn.Linear(4, 4))
    desk.commit(0)
    holder = desk.home.database.engine.raw_connection()
    holder.execute("BEGIN IMMEDIATE")
    saves = desk.committer.saves
    for step in (2, 4, 6):
        saves.ask(step)
        desk.commit(step, wait=False)
    assert saves.owed == 6 and not desk.recorder.inbox.waiting
    holder.execute("ROLLBACK")
    holder.close()
    assert desk.committer.free.wait(60)
    assert desk.recorder.inbox.wait(60), "the loop is called to a control point"
    assert desk.commit(7) and not desk.recorder.inbox.take() and not desk.recorder.inbox.waiting
    desk.close()
    assert [node.step for node in desk.home.nodes()] == [0, 2, 7]
    assert saves.as_dict() == {"due": 3, "made": 2, "missed": [4]}
    assert desk.home.segment().saves == saves.as_dict()
    (event,) = desk.home.events("save")
    assert (event.state, event.step) == ("missed", 4) and "still waits" in event.reason


def test_a_save_is_counted_with_its_node_and_a_miss_with_its_event(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "HEARTBEAT_SECONDS", 1e6)
    desk = at(torch.nn.Linear(4, 4))
    saves = desk.committer.saves
    for step in (2, 4):
        saves.ask(step)
        desk.commit(step)
        made = len(desk.home.nodes())
        assert desk.home.segment().saves == {"due": made, "made": made, "missed": []}
    saves.ask(6)
    saves.drop("It could not be made.")
    counted = threading.Event()
    desk.recorder.do(counted.set)
    assert counted.wait(60)
    assert desk.home.segment().saves == {"due": 3, "made": 2, "missed": [6]}


def test_the_reason_why_saves_are_not_made_does_not_grow_with_them(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "END_SECONDS", 0.2)
    desk = at(torch.nn.Linear(4, 4))

    def failing(*_: Any) -> Any:
        raise StorageError("The database failed.")

    monkeypatch.setattr(nodes, "commit", failing)
    desk.commit(1, wait=False)
    in_trouble(desk)
    for step in range(2, 12):
        desk.commit(step, wait=False)
    assert desk.committer.lost == "The commit before this one still waits: The database failed."


def test_the_last_state_waits_for_a_database_that_holds_up_the_commit_before(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 0.1)
    desk, commit, broken = at(torch.nn.Linear(4, 4)), nodes.commit, [True]

    def failing(*given: Any) -> Any:
        if broken[0]:
            raise StorageError("The database failed.")
        return commit(*given)

    monkeypatch.setattr(nodes, "commit", failing)
    desk.commit(1, wait=False)
    in_trouble(desk)
    threading.Timer(0.5, lambda: broken.__setitem__(0, False)).start()
    assert desk.commit(2, kind="final")
    assert [node.step for node in desk.home.nodes()] == [1, 2] and desk.close() == []


def test_a_pack_of_what_others_committed_meanwhile_is_removed_again(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = at(torch.nn.Linear(4, 4))
    (first,) = desk.commit(0)
    before = desk.packs()
    monkeypatch.setattr(commits, "missing", lambda *_: list(commits.digests(state)[1].items()))
    state = desk.home.snapshot(first)
    with counted() as counts:
        (second,) = desk.commit(1)
    assert counts["replace"] == 1 and desk.packs() == before
    assert desk.home.snapshot(second).tensors.keys() == state.tensors.keys()


def test_what_a_sweep_takes_away_before_a_commit_that_shares_it_is_written_again(
    at: Open, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = at(torch.nn.Linear(4, 4))
    (first,) = desk.commit(0)
    missing, swept = commits.missing, list[int]()

    def swept_after(*values: Any) -> Any:
        fresh = missing(*values)
        if not swept:
            assert fresh == [], "all of it is stored, as it seems"
            with home.database.transaction() as connection:
                thinning.mark(connection, {first.state_digest: "recipe"})
            swept.append(Sweep(home.database, home.store, {}, "test").collect()[0])
        return fresh

    monkeypatch.setattr(commits, "missing", swept_after)
    (second,) = desk.commit(1)
    assert swept[0] > 0
    assert home.snapshot(second).tensors.keys() >= {"model/weight", "model/bias"}
    with home.database.read() as connection:
        assert nodes.thinned(connection, first.state_digest) in ("recipe", None)
        assert integrity.of_database(connection) == []
