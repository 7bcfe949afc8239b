"""Trainings whose packs are in a bucket of a real server: whole, undisturbed, and killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from branchtrack import control
from branchtrack.checkpoints.remote import spool as spools
from branchtrack.checkpoints.remote.bucket import Bucket
from branchtrack.control import leftovers
from branchtrack.control.store import spooled
from branchtrack.core.records import Node
from branchtrack.db import audit
from branchtrack.db.storage import packs
from branchtrack.environment_variables import (
    CONTINUE_VARIABLE,
    STORE_CACHE_VARIABLE,
    STORE_VARIABLE,
)
from branchtrack.errors import CheckpointMissing, InvalidInput
from branchtrack.retention.sweeps import Sweep
from branchtrack.training.record import intervals
from tests.s3_servers import BUCKET, Server
from tests.training import jobs, loops, s3_jobs
from tests.training.callbacks import Do
from tests.training.homes import Home

STEPS: dict[str, Any] = {"max_steps": 6, "save_steps": 1}


@pytest.fixture
def home(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    opened = Home(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """The server that processes are forked from."""
    return jobs.context()


def check(home: Home, branch: str = "tiny/main") -> list[Node]:
    """Every node of a branch, each of which can be restored, in a record that is whole."""
    listed = home.nodes(branch)
    for node in listed:
        manifest = control.verify_node(home.database, home.store, node)
        assert manifest.digest == node.state_digest
        assert len(home.snapshot(node).tensors) == len(manifest.entries)
    assert [n.parent_id for n in listed[1:]] == [n.id for n in listed[:-1]]
    with home.database.read() as connection:
        assert (
            audit.first_broken_seq(connection, home.find_run(branch.partition("/")[0]).id) is None
        )
    return listed


def waiting(home: Home) -> int:
    return spools.waiting(home.config.home)[0]


def test_a_training_is_recorded_in_the_bucket_and_resumed_exactly(home: Home) -> None:
    home.train(**STEPS)
    listed = check(home)
    assert [node.step for node in listed] == list(range(7)) and listed[-1].kind == "final"
    assert not (home.config.store / "packs").exists() and waiting(home) == 0
    launch = home.resume(listed[2], **STEPS)
    resumed = check(home, f"tiny/{home.branch_of(launch)}")
    assert resumed[-1].state_digest == listed[-1].state_digest
    assert home.segment("tiny/main").status == "finished"


def test_a_loop_is_recorded_in_the_bucket_and_resumed_exactly(home: Home) -> None:
    loops.train(home, max_steps=6, save_steps=2)
    listed = check(home, "tiny/main")
    launch = home.order(listed[1])
    loops.train(home, launch, max_steps=6, save_steps=2)
    assert home.nodes(f"tiny/{home.branch_of(launch)}")[-1].state_digest == listed[-1].state_digest


def test_a_process_without_the_variable_uses_the_bucket_that_the_home_remembers(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.train(**STEPS)
    monkeypatch.delenv(STORE_VARIABLE)
    launch = home.resume(home.nodes("tiny/main")[2], **STEPS)
    assert not (home.config.store / "packs").exists()
    check(home, f"tiny/{home.branch_of(launch)}")


def test_a_process_with_another_bucket_is_refused_before_any_training(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.train(**STEPS)
    monkeypatch.setenv(STORE_VARIABLE, f"s3://{BUCKET}/elsewhere")
    with pytest.raises(InvalidInput, match="has its packs in"):
        home.train(**STEPS)


def test_a_machine_without_copies_reads_from_the_bucket(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_CACHE_VARIABLE, "0")
    home.train(**STEPS)
    opened = Home(home.folder)
    assert len(check(opened)) == 7
    opened.close()
    assert not (home.config.home / "cache" / "packs").exists()


def test_uploads_are_in_order_and_a_node_is_listed_when_its_pack_is_there(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, listed = Bucket.put, list[int]()

    def slow(self: Bucket, pack: str, chunks: Any) -> None:
        listed.append(len(home.nodes("tiny/main")))
        time.sleep(0.1)
        put(self, pack, chunks)
        assert len(home.nodes("tiny/main")) == listed[-1]

    monkeypatch.setattr(Bucket, "put", slow)
    home.train(**STEPS)
    assert listed == list(range(7))
    assert [node.step for node in check(home)] == list(range(7))


def test_a_request_is_answered_with_its_node_and_proved_after_it(home: Home) -> None:
    asked: list[str] = []
    ask = Do("on_step_end", 2, lambda **_: asked.append(ask_lr()))

    def ask_lr() -> str:
        return home.ask("set", values={"lr": 5e-4}).id

    home.train(callbacks=lambda: [ask], **STEPS)
    request = home.request(asked[0])
    assert request.state == "verified"
    nodes = {node.id: node for node in check(home)}
    assert nodes[request.node_id or ""].changes[0].name == "lr"


@pytest.mark.timeout(300)
def test_training_goes_on_while_the_server_is_down_and_its_nodes_appear_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path / "server")
    server.start()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(STORE_VARIABLE, f"s3://{BUCKET}/home")
    home, seen = Home(tmp_path), dict[str, int]()

    def down(**_: Any) -> None:
        wait_for(lambda: waiting(home) == 0)
        server.stop()

    def look(**_: Any) -> None:
        # Five commits were made, and training did not wait for any.
        seen.update(waits=waiting(home), listed=len(home.nodes("tiny/main")))
        server.start()

    calls = [Do("on_step_end", 2, down), Do("on_step_begin", 8, look)]
    home.train(callbacks=lambda: calls, max_steps=10, save_steps=1)
    assert seen["waits"] >= 4 and seen["listed"] <= 3
    assert [node.step for node in check(home)] == list(range(11)) and waiting(home) == 0
    with home.database.read() as connection:
        events = audit.since(connection, home.find_run().id)
    assert {e.state for e in events if e.kind == "trouble"} == {"begun", "over"}
    home.close()
    server.stop()


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_no_bucket_takes_is_kept_and_listed_later(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "END_SECONDS", 0.5)
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    home.train(**STEPS)
    assert home.nodes("tiny/main") == [] and waiting(home) == 7
    segment = home.segment("tiny/main")
    assert segment.status == "failed" and "branchtrack storage --upload" in (segment.error or "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    opened = Home(home.folder)
    words = spooled.finish(opened.database, opened.store)
    assert "7 were uploaded" in words
    assert [node.step for node in check(opened)] == list(range(7)) and waiting(opened) == 0
    assert spooled.finish(opened.database, opened.store) == ""
    opened.close()


def test_a_full_spool_puts_the_next_commits_off_as_a_full_disk_does(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "END_SECONDS", 0.5)
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 0.2)
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("BRANCHTRACK_STORE_SPOOL", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    trainer = home.train(**STEPS)
    # The first, and the state that training ended in.
    assert trainer.state.global_step == 6 and waiting(home) == 2
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert [node.step for node in finished(home, "tiny/main")] == [0, 6]
    with home.database.read() as connection:
        events = audit.since(connection, home.find_run().id)
    assert any("as many as may" in event.reason for event in events)


def finished(home: Home, branch: str) -> list[Node]:
    """What is listed after the next process has finished what the last one left."""
    opened = Home(home.folder)
    spooled.finish(opened.database, opened.store)
    leftovers.clear(opened.database, opened.store)
    listed = check(opened, branch)
    assert waiting(opened) == 0
    opened.close()
    return listed


def variables(home: Home) -> dict[str, str]:
    names = [STORE_VARIABLE, *(name for name in os.environ if name.startswith("AWS_"))]
    return {name: os.environ[name] for name in names}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", s3_jobs.FAIL_POINTS)
def test_a_training_killed_at_any_point_loses_no_commit_that_was_made(
    point: str, home: Home, forks: ForkServerContext
) -> None:
    begun = forks.Event()
    process = forks.Process(
        target=s3_jobs.victim, args=(home.folder, variables(home), "v", point, begun)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    made = [node.step for node in check(home, "v/main")]
    kept = waiting(home)
    listed = [node.step for node in finished(home, "v/main")]
    # Every commit from the root on, without a gap, and none twice.
    assert listed == list(range(len(listed))) and listed[: len(made)] == made
    assert len(made) <= len(listed) <= len(made) + kept and len(listed) > 1
    assert home.points("loss", home.nodes("v/main")[-1].segment_id).keys() >= set(listed) - {0}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "point",
    [
        "before the upload",
        "after the upload",
        "within the transaction",
        "before the spool forgets it",
    ],
)
def test_whoever_finishes_it_may_be_killed_as_well(
    point: str, home: Home, forks: ForkServerContext
) -> None:
    begun = forks.Event()
    arguments = (home.folder, variables(home), "v", "before the upload", begun)
    process = forks.Process(target=s3_jobs.victim, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL and waiting(home) > 0
    process = forks.Process(target=s3_jobs.finish, args=(home.folder, variables(home), point))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    listed = [node.step for node in finished(home, "v/main")]
    assert listed == list(range(len(listed))) and len(listed) > 5
    # A sweep removes what it had uploaded and not recorded.
    Sweep(home.database, home.store, {}, "test").collect()
    with home.database.read() as connection:
        named = packs.ids(connection)
    unnamed = {pack.id for pack in home.store.packs()} - named
    owners = {home.store.metadata(pack)["branchtrack.process"] for pack in unnamed}
    assert len(owners) <= 1, "only the training's own, which is left to the clearing of leftovers"


def test_a_process_that_goes_on_begins_where_the_last_one_ended(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "END_SECONDS", 0.5)
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(SystemExit):
            home.train(max_steps=12, save_steps=1, callbacks=lambda: [Do("on_step_end", 6, end)])
    assert home.nodes("tiny/main") == [] and waiting(home) > 4
    opened = Home(home.folder)
    monkeypatch.setenv(CONTINUE_VARIABLE, "1")
    opened.train(max_steps=12, save_steps=1)
    # One run, in which nothing was trained again.
    assert [run.name for run in opened.runs()] == ["tiny"]
    steps = [node.step for node in check(opened)]
    assert sorted(set(steps)) == list(range(13)) and waiting(opened) == 0
    opened.close()


def end(**_: Any) -> None:
    """Ask the loop to end, as a preemption does."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_commits_are_dropped_where_the_branch_has_gone_on_without_them(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "END_SECONDS", 0.5)
    put = Bucket.put

    def fails(self: Bucket, pack: str, chunks: Any) -> None:
        if len(home.nodes("tiny/main")) >= 3:
            raise OSError(5, "out of order")
        put(self, pack, chunks)

    monkeypatch.setattr(Bucket, "put", fails)
    home.train(**STEPS)
    monkeypatch.setattr(Bucket, "put", put)
    assert len(home.nodes("tiny/main")) == 3 and waiting(home) == 4
    # Another machine, which does not see what waits here, goes on with the branch.
    spool = home.config.home / spools.FOLDER
    spool.rename(home.folder / "aside")
    monkeypatch.setenv(CONTINUE_VARIABLE, "1")
    home.train(**STEPS)
    listed = check(home)
    shutil.rmtree(spool, ignore_errors=True)
    (home.folder / "aside").rename(spool)
    opened = Home(home.folder)
    words = spooled.finish(opened.database, opened.store)
    assert "4 dropped" in words and "continued from an earlier node" in words
    assert waiting(opened) == 0 and opened.nodes("tiny/main") == listed
    with opened.database.read() as connection:
        events = audit.since(connection, opened.find_run().id)
    missed = [e for e in events if e.kind == "save" and e.state == "missed"]
    assert [e.step for e in missed] == [3, 4, 5, 6]
    opened.close()


def test_two_processes_share_a_home_a_bucket_and_a_cache(
    home: Home, forks: ForkServerContext
) -> None:
    begun = [forks.Event() for _ in range(2)]
    processes = [
        forks.Process(
            target=s3_jobs.victim,
            args=(home.folder, variables(home), f"v{number}", None, begun[number]),
        )
        for number in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
        assert process.exitcode == 0
    opened = Home(home.folder)
    for number in range(2):
        assert [node.step for node in check(opened, f"v{number}/main")] == list(range(41))
    # They commit equal states, of which the bucket has each once.
    named = {pack.id for pack in opened.store.packs()}
    assert len(named) <= 42 and waiting(opened) == 0
    opened.close()


def test_a_damaged_copy_is_fetched_again_and_a_damaged_pack_is_told(
    home: Home,
) -> None:
    home.train(**STEPS)
    opened = Home(home.folder)
    copies = sorted((home.config.home / "cache" / "packs").rglob("*.safetensors"))
    assert copies
    for path in copies:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    check(opened)
    pack = next(iter(opened.store.packs())).id
    opened.store.delete(pack)
    with pytest.raises(CheckpointMissing):
        for node in opened.nodes("tiny/main"):
            control.verify_node(opened.database, opened.store, node)
    opened.close()
