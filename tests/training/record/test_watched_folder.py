"""Files in a watched folder become requests: once each, complete, and for the right branch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import branchtrack
from branchtrack.core.records import Request
from branchtrack.db import requests, runs, segments, tables
from branchtrack.db.storage import texts
from branchtrack.errors import StorageError
from branchtrack.training.record import watched_folder
from branchtrack.training.record.watched_folder import QUIET_SECONDS, WatchedFolder
from branchtrack.training.settings.dataset_settings import DataSettings
from tests.training.benches import Bench
from tests.training.homes import Home


class Watch:
    """A folder that is looked at when a test says so, and a branch that trains from it."""

    def __init__(self, home: Home) -> None:
        self.bench, self.incoming = Bench(home), home.folder / "incoming"
        self.data = branchtrack.LiveDataset({"a": [1, 2]}, watch=self.incoming)
        self.report()
        self.folder = WatchedFolder(self.bench.database, self.bench.segment, self.data)
        self.now = 0.0

    def report(self) -> None:
        """Report the present composition, as the process does with its heartbeat."""
        declared = [s.as_dict() for s in DataSettings(self.data).declared.values()]
        with self.bench.database.transaction() as connection:
            texts.put(connection, self.data.composition.document)
            connection.execute(
                tables.segments.update().values(
                    declared=declared, settings=DataSettings(self.data).values()
                )
            )

    def drop(self, name: str, text: str = "one\ntwo\n") -> Path:
        """Put a file into the folder."""
        path = self.incoming / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def look(self, times: int = 2) -> None:
        """Look at the folder several times, as far apart as a file has to be quiet."""
        for _ in range(times):
            self.folder.look(self.now)
            self.now += QUIET_SECONDS

    @property
    def requests(self) -> list[Request]:
        """What was asked for, the oldest first."""
        with self.bench.database.read() as connection:
            run = runs.find_run(connection, "tiny")
            return requests.list_of_run(connection, run.id)[::-1]

    def adds(self) -> list[dict[str, str]]:
        """The shards that were asked for."""
        return [request.payload["add"] for request in self.requests]


@pytest.fixture
def watch(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """A folder whose own thread never looks."""
    monkeypatch.setattr(watched_folder, "LOOK_SECONDS", 1000.0)
    made = Watch(home)
    yield made
    made.folder.close()
    made.bench.close()
    made.bench.database.close()


def test_a_file_is_asked_for_once_it_is_quiet(watch: Watch) -> None:
    watch.look()
    path = watch.drop("chat.txt")
    watch.look(1)
    assert watch.requests == []
    path.write_text("one\ntwo\nthree\n")
    watch.look(1)
    assert watch.requests == []
    watch.look(3)
    (request,) = watch.requests
    assert request.state == "accepted" and request.actor.startswith("watch incoming (")
    assert request.reason == f"chat.txt appeared in {watch.incoming}"
    fingerprint = watch.data.prepare(path)
    assert request.payload == {
        "add": {"chat": str(path)},
        "fingerprints": {"chat": fingerprint},
    }


def test_unfinished_and_hidden_files_are_left_alone(watch: Watch) -> None:
    for name in ("chat.txt.part", "chat.tmp", ".chat.txt"):
        watch.drop(name)
    watch.look(4)
    assert watch.requests == []


def test_files_of_one_name_become_shards_of_two(watch: Watch) -> None:
    watch.drop("a.txt"), watch.drop("a.jsonl", "1\n"), watch.drop("a b!.txt", "x\n")
    watch.look()
    names = [name for add in watch.adds() for name in add]
    assert sorted(names) == ["a-2", "a-3", "a-b"]


def test_a_folder_in_it_is_one_shard(watch: Watch) -> None:
    watch.drop("many/x.txt"), watch.drop("many/y.txt")
    watch.look()
    assert watch.adds() == [{"many": str(watch.incoming / "many")}]


def test_a_file_that_cannot_be_read_is_asked_for_so_that_the_record_says_why(watch: Watch) -> None:
    watch.drop("picture.bin")
    watch.look()
    (request,) = watch.requests
    assert "fingerprints" not in request.payload


def test_another_process_of_the_branch_asks_for_nothing_twice(watch: Watch) -> None:
    path = watch.drop("chat.txt")
    watch.look()
    again = WatchedFolder(watch.bench.database, watch.bench.segment, watch.data)
    for now in (0.0, QUIET_SECONDS):
        again.look(now)
    assert len(watch.requests) == 1
    watch.data.add("chat", path)
    watch.report()
    third = WatchedFolder(watch.bench.database, watch.bench.segment, watch.data)
    for now in (0.0, QUIET_SECONDS):
        third.look(now)
    assert len(watch.requests) == 1
    again.close(), third.close()


def test_what_its_process_left_unanswered_is_asked_for_again(watch: Watch) -> None:
    watch.drop("chat.txt")
    watch.look()
    with watch.bench.database.transaction() as connection:
        why = "The run is lost."
        requests.move(connection, watch.requests[0].id, "expired", actor="t", error=why)
    again = WatchedFolder(watch.bench.database, watch.bench.segment, watch.data)
    for now in (0.0, QUIET_SECONDS):
        again.look(now)
    assert [request.state for request in watch.requests] == ["expired", "accepted"]
    again.close()


def test_what_could_not_be_read_is_asked_for_once(watch: Watch) -> None:
    watch.drop("picture.bin")
    watch.look()
    again = WatchedFolder(watch.bench.database, watch.bench.segment, watch.data)
    for now in (0.0, QUIET_SECONDS):
        again.look(now)
    assert len(watch.requests) == 1
    again.close()


def test_a_pipe_and_a_link_to_nowhere_hold_up_no_other_file(watch: Watch) -> None:
    watch.drop("z.txt")
    os.mkfifo(watch.incoming / "a.txt")
    (watch.incoming / "b.txt").symlink_to("nowhere")
    (watch.incoming / os.fsdecode(b"c\xff.txt")).write_text("x\n")
    watch.look(3)
    names = [next(iter(add)) for add in watch.adds()]
    assert "z" in names and len(names) == len({*names})
    assert len(watch.requests) == 4


def test_a_branch_from_a_node_gets_only_what_comes_after_it_began(watch: Watch) -> None:
    watch.drop("before.txt")
    with watch.bench.database.transaction() as connection:
        connection.execute(
            tables.branches.update().values(start_node_id="f" * 16, created_at=time.time() + 60)
        )
    watch.look()
    assert watch.requests == []
    with watch.bench.database.transaction() as connection:
        connection.execute(tables.branches.update().values(created_at=time.time() - 60))
    watch.drop("after.txt")
    watch.look()
    assert [name for add in watch.adds() for name in add] == ["after"]


def test_while_the_database_is_out_a_file_waits(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.drop("chat.txt")
    watch.look(1)

    def out(*_: Any, **__: Any) -> None:
        raise StorageError("out")

    with monkeypatch.context() as patch:
        patch.setattr(watched_folder.control, "submit", out)
        with pytest.raises(StorageError):
            watch.look(1)
    watch.look(1)
    assert len(watch.requests) == 1


def test_a_refusal_is_recorded_and_ends_nothing(watch: Watch) -> None:
    watch.drop("chat.txt")
    with watch.bench.database.transaction() as connection:
        segments.end(connection, watch.bench.segment, "failed", actor="t", error="gone")
    watch.look()
    assert [request.state for request in watch.requests] == ["rejected"]


def test_its_own_thread_looks(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_folder, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watched_folder, "QUIET_SECONDS", 0.02)
    made = Watch(home)
    path = made.drop("chat.txt")
    os.utime(path)
    made.bench.wait(lambda: made.requests)
    made.folder.close()
    made.bench.close()
    made.bench.database.close()


def test_a_damaged_file_is_asked_for_and_holds_up_no_other(watch: Watch) -> None:
    watch.drop("a.safetensors", "no tensors")
    watch.drop("b.txt")
    watch.look()
    assert watch.adds() == [
        {"a-2": str(watch.incoming / "a.safetensors")},
        {"b": str(watch.incoming / "b.txt")},
    ]
