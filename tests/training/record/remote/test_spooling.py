"""A commit waits on this machine without a question to the bucket, and is uploaded from there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from branchtrack import control
from branchtrack.checkpoints.remote import spool as spools
from branchtrack.checkpoints.remote.bucket import Bucket
from branchtrack.db import audit
from branchtrack.db.storage import thinning
from branchtrack.db.tables import tensors as tensor_rows
from branchtrack.environment_variables import STORE_VARIABLE
from branchtrack.training.record import commits, intervals
from branchtrack.training.record.committer import Committer
from branchtrack.training.record.remote import spooling
from branchtrack.training.steer.answers import Answer
from tests.training.desks import Desk
from tests.training.homes import Home


@pytest.fixture
def desk(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    monkeypatch.setattr(intervals, "END_SECONDS", 1.0)
    home = Home(tmp_path)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Linear(30, 4))
    model[0].requires_grad_(False)
    made = Desk(home, model)
    yield made
    made.close()
    home.close()


class Gate:
    """A bucket that takes nothing until it is opened; and what was put."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.sizes = threading.Event(), list[int]()
        put = Bucket.put

        def waits(bucket: Bucket, pack: str, chunks: Any) -> None:
            assert self.open.wait(60)
            pieces = list(chunks)
            self.sizes.append(sum(len(piece) for piece in pieces))
            put(bucket, pack, pieces)

        monkeypatch.setattr(Bucket, "put", waits)


def waiting(desk: Desk) -> int:
    return spools.waiting(desk.home.config.home)[0]


def test_buffers_are_free_before_the_upload_and_later_commits_do_not_spoil_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    states = []
    for step in range(4):
        desk.update()
        states.append({name: t.clone() for name, t in desk.model.state_dict().items()})
        assert desk.commit(step) == []
    assert waiting(desk) == 4 and desk.home.nodes("tiny/main") == []
    gate.open.set()
    assert desk.close() == []
    listed = desk.home.nodes("tiny/main")
    assert [node.step for node in listed] == [0, 1, 2, 3] and waiting(desk) == 0
    for node, state in zip(listed, states, strict=True):
        control.verify_node(desk.home.database, desk.home.store, node)
        snapshot = desk.home.snapshot(node)
        assert all(torch.equal(snapshot.tensors[f"model/{n}"], t) for n, t in state.items())


def test_what_waits_already_is_not_written_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    desk.update()
    desk.commit(0)
    first = spools.waiting(desk.home.config.home)[1]
    desk.commit(1)
    desk.commit(2, lr=0.0, before=1.0, after=2.0)
    assert spools.waiting(desk.home.config.home)[1] - first < first / 2
    gate.open.set()
    desk.close()
    assert len(desk.home.nodes("tiny/main")) == 3 and sum(gate.sizes) < 2 * first


def test_nothing_is_asked_of_a_bucket_that_is_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.update()
    made = desk.commit(0)
    while not made:
        threading.Event().wait(0.01)
    endpoint = os.environ["AWS_ENDPOINT_URL"]

    def fails(*_: object) -> None:
        raise AssertionError("the bucket was asked something")

    for name in ("_size", "_range"):
        monkeypatch.setattr(Bucket, name, fails)
    # The thread of the uploads may fail as it likes; the commit itself must not notice.
    monkeypatch.setattr(Committer, "_upload", lambda *_: None)
    desk.update()
    desk.commit(1)
    assert waiting(desk) == 1 and endpoint
    assert "1 commits wait" in desk.committer._waiting


def test_tensors_that_a_sweep_removed_meanwhile_fail_one_commit_and_no_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.update()
    first = desk.commit(0)
    while not first:
        threading.Event().wait(0.01)
    gate = Gate(monkeypatch)
    desk.update()
    second = desk.commit(1, before=1.0, after=2.0)
    with desk.home.database.transaction() as connection:
        digests = list(connection.execute(tensor_rows.select()).scalars())
        thinning.forget_tensors(connection, digests)
    gate.open.set()
    while waiting(desk):
        threading.Event().wait(0.01)
    assert second == []
    desk.update()
    third = desk.commit(2)
    desk.close()
    assert len(third) == 1
    control.verify_node(desk.home.database, desk.home.store, third[0])
    # The change of the commit that failed is the next one's.
    assert [change.name for change in third[0].changes] == ["lr"]
    with desk.home.database.read() as connection:
        assert audit.first_broken_seq(connection, desk.home.find_run().id) is None


def test_what_is_left_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "no")

    monkeypatch.setattr(Bucket, "put", fails)
    desk.update()
    desk.commit(0)
    lost = desk.close()
    assert any("branchtrack storage --upload" in line for line in lost)
    status, error = desk.committer.ending("finished", None)
    assert status == "failed" and error and "1 commits wait" in error


def test_what_follows_a_late_upload_is_recorded_at_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    desk.update()
    failed = Answer(desk.asked(), "failed", error="No.")
    nodes = desk.commit(0, failed, kind="final")
    proved: list[int] = []
    desk.recorder.after_nodes(lambda: proved.append(len(nodes)))
    closing = threading.Thread(target=desk.close)
    closing.start()
    closing.join(0.3)
    assert closing.is_alive() and nodes == [] and proved == []
    gate.open.set()
    closing.join(60)
    assert proved == [1] and desk.home.request(failed.request.id).state == "failed"


def test_what_a_disk_has_changed_while_it_waited_is_not_listed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "_IN_MEMORY", 0.0)
    put = threading.Event()
    missing = commits.missing

    def later(*arguments: Any) -> Any:
        assert put.wait(60)
        return missing(*arguments)

    monkeypatch.setattr(commits, "missing", later)
    desk.update()
    damaged = desk.commit(0)
    while not waiting(desk):
        threading.Event().wait(0.01)
    (path,) = (desk.home.config.home / spools.FOLDER).rglob("*.safetensors")
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    put.set()
    while waiting(desk):
        threading.Event().wait(0.01)
    desk.update()
    whole = desk.commit(1)
    desk.close()
    assert damaged == [] and len(whole) == 1
    control.verify_node(desk.home.database, desk.home.store, whole[0])
