"""A trial's process is watched to its end, and leaves no more than its verdict."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config, load
from branchtrack.core.records import Node
from branchtrack.db import audit, nodes, runs
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.db.tables import metadata
from branchtrack.errors import InvalidInput, LaunchFailed, NotFound
from branchtrack.launching import certification
from tests.launching.helpers import train_fake, wait_until
from tests.trees_for_tests import make_tree


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, which is to stay empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """One home for all: a trial leaves nothing that another would notice."""
    return load(tmp_path_factory.mktemp("certifying") / "home")


@pytest.fixture(scope="module")
def database(config: Config) -> Iterator[Database]:
    """Its database, open."""
    opened = open_database(config, create=True)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def made(config: Config, database: Database) -> list[Node]:
    """The nodes of a run ``fake`` that was trained in a process of its own."""
    train_fake(config, "--steps", "4")
    return of_branch(database, "fake")


def of_branch(database: Database, ref: str) -> list[Node]:
    with database.read() as connection:
        return nodes.of_branch(connection, runs.find_branch(connection, ref).id)


def counted(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def certify(database: Database, config: Config, made: list[Node], watch: Any = None) -> Any:
    return certification.certify(database, config, made[0], made[-1], watch or (lambda step: None))


def left(config: Config, temporary: Path) -> list[str]:
    """Logs and temporary files that are there; the logs are taken away for the next test."""
    found = sorted(path.name for path in [*config.logs.iterdir(), *temporary.iterdir()])
    for log in config.logs.iterdir():
        log.rename(temporary.parent / log.name)
    return found


def test_a_verdict_is_all_that_is_left(
    config: Config, database: Database, made: list[Node], temporary: Path, monkeypatch: Any
) -> None:
    before = counted(database)
    for how in ("exact", "differs"):
        monkeypatch.setenv("FAKE_TRIAL", how)
        found = certify(database, config, made)
        assert found.exact is (how == "exact")
        assert (found.from_node_id, found.to_node_id) == (made[0].id, made[-1].id)
    rows = {name: count - before[name] for name, count in counted(database).items()}
    assert {name: more for name, more in rows.items() if more} == {
        "certificates": 2,
        "events": 2,
        "seals": 4,
    }
    assert left(config, temporary) == []
    with database.read() as connection:
        assert audit.first_broken_seq(connection, found.run_id) is None


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("crash", "RuntimeError: the loss exploded in the trial"),
        ("", "It did not reach the node"),
    ],
)
def test_a_process_without_a_verdict_says_why_and_leaves_its_log(
    how: str,
    why: str,
    config: Config,
    database: Database,
    made: list[Node],
    temporary: Path,
    monkeypatch: Any,
) -> None:
    monkeypatch.setenv("FAKE_TRIAL", how)
    before = counted(database)
    with pytest.raises(LaunchFailed, match=why) as caught:
        certify(database, config, made)
    assert counted(database) == before
    (log,) = left(config, temporary)
    assert str(config.logs / log) == caught.value.log
    assert "fake trial starts" in (temporary.parent / log).read_text()


def test_a_killed_process_leaves_no_trace_but_its_log(
    config: Config, database: Database, made: list[Node], temporary: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("FAKE_TRIAL", "sleep")
    before = counted(database)

    def kill(step: int | None) -> None:
        if step is not None:
            assert step == 3
            (child,) = children()
            os.kill(child, signal.SIGKILL)

    with pytest.raises(LaunchFailed, match="killed by SIGKILL"):
        certify(database, config, made, kill)
    assert counted(database) == before and len(left(config, temporary)) == 1


def test_whoever_stops_watching_ends_the_process_and_leaves_nothing(
    config: Config, database: Database, made: list[Node], temporary: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("FAKE_TRIAL", "sleep")
    before, started = counted(database), []

    def stop(step: int | None) -> None:
        started.extend(children())
        if step is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        certify(database, config, made, stop)
    assert started
    wait_until(lambda: children() == [])
    assert counted(database) == before and left(config, temporary) == []


def test_a_script_that_is_gone_is_told_before_anything_starts(
    config: Config, database: Database, made: list[Node], temporary: Path
) -> None:
    gone = {"argv": ["python", "/no/such/script.py"], "cwd": "/", "env": {}}
    table = metadata.tables["runs"]
    with database.transaction() as connection:
        there = runs.get_run(connection, made[0].run_id).entry_point
        connection.execute(table.update().values(entry_point=gone))
    with pytest.raises(LaunchFailed, match="script.py that trained the run is gone"):
        certify(database, config, made)
    with database.transaction() as connection:
        connection.execute(table.update().values(entry_point=there))
    assert left(config, temporary) == []


def test_two_at_once_each_have_their_verdict(
    config: Config, database: Database, made: list[Node], monkeypatch: Any
) -> None:
    monkeypatch.setenv("FAKE_TRIAL", "exact")
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(certify, database, config, made) for _ in range(2)]
    assert len({one.result().id for one in both}) == 2


def test_a_stretch_is_chosen_by_names(database: Database, made: list[Node]) -> None:
    root, final = made
    for given in ({}, {"steps": 4}, {"start": root.id[:8]}, {"target": final.id}, {"steps": 2}):
        assert certification.choose_nodes(database, "fake", **given) == (root, final)
    with pytest.raises(NotFound):
        certification.choose_nodes(database, "fake", start="nothing")
    for wrong in ({"steps": 0}, {"steps": 5}, {"steps": 1, "start": root.id}, {"target": root.id}):
        with pytest.raises(InvalidInput):
            certification.choose_nodes(database, "fake", **wrong)


def test_a_node_of_another_branch_is_refused(
    config: Config, database: Database, made: list[Node]
) -> None:
    make_tree(database, open_store(config.store), "other").node("main", 0, kind="root")
    for field in ("start", "target"):
        with pytest.raises(InvalidInput, match="a node of the branch main"):
            certification.choose_nodes(database, "other", **{field: made[0].id})


def children() -> list[int]:
    """The processes that this one has started and that run."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in map(int, found) if "fake_training" in _command_line(pid)]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
