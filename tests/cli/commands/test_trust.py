"""A home from elsewhere starts nothing before a person has seen what, and said yes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from branchtrack import control, trust
from branchtrack.checkpoints.packs import Store
from branchtrack.cli.commands import serve as commands_serve
from branchtrack.cli.main import cli
from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.launching.worker import Worker
from tests.cli.conftest import Call
from tests.trees_for_tests import make_tree


@pytest.fixture
def queued(
    sqlite_config: Config, sqlite_database: Database, store: Store, tmp_path: Path
) -> Launch:
    """A launch in a home from elsewhere: its command makes the file ``ran``."""
    code = f"open({str(tmp_path / 'ran')!r}, 'w')"
    entry_point = {"argv": [sys.executable, "-c", code], "cwd": "/", "env": {"LD_PRELOAD": "x.so"}}
    tree = make_tree(sqlite_database, store, "strange", entry_point=entry_point)
    node = tree.node("main", 1, kind="root")
    launch = control.create_launch(sqlite_database, store, node.id, actor="me", name="wanted")
    trust.forget(sqlite_config)
    return launch


def state_of(database: Database, launch: Launch) -> str:
    with database.read() as connection:
        return launches.get(connection, launch.id).state


def test_a_worker_starts_nothing_and_says_what_it_would_have_started(
    call: Call, queued: Launch, sqlite_database: Database, tmp_path: Path
) -> None:
    answer = call("worker", "--once")
    assert answer.code == 2
    assert "this user has not trusted it" in answer.err
    assert "strange/wanted" in answer.err and "-c" in answer.err
    assert state_of(sqlite_database, queued) == "queued"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", ["--launch", "--once"])
def test_a_worker_in_a_trusted_home_starts_it(
    call: Call, queued: Launch, sqlite_database: Database, tmp_path: Path, how: str
) -> None:
    assert call("trust", "--yes").code == 0
    call("worker", how, *([queued.id] if how == "--launch" else []))
    assert (tmp_path / "ran").exists()


def test_a_home_whose_trust_is_lost_while_a_worker_works_starts_nothing(
    queued: Launch, sqlite_config: Config, sqlite_database: Database, tmp_path: Path
) -> None:
    with pytest.raises(trust.UntrustedHome):
        Worker(sqlite_database, sqlite_config).claim()
    assert state_of(sqlite_database, queued) == "queued"


@pytest.mark.parametrize("command", ["resume", "certify"])
def test_commands_that_start_a_process_are_refused_and_leave_nothing(
    call: Call, queued: Launch, sqlite_database: Database, command: str
) -> None:
    answer = call(command, {"resume": queued.node_id, "certify": "strange/main"}[command])
    assert answer.code == 2 and "not trusted" in answer.err
    with sqlite_database.read() as connection:
        assert len(launches.unfinished(connection)) == 1


def test_demo_is_refused_before_it_trains(call: Call, queued: Launch) -> None:
    answer = call("demo", "--no-serve")
    assert answer.code == 2 and "not trusted" in answer.err


def test_serve_serves_pages_without_a_worker_and_says_why(
    queued: Launch, sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = {}

    def serve(app: object, host: str, port: int, *, ready: object, **_more: object) -> None:
        served["note"] = app.extensions["branchtrack"].worker_note
        ready("http://127.0.0.1:1/")

    monkeypatch.setattr("branchtrack.web.serving.server.serve", serve)
    monkeypatch.setattr("branchtrack.launching.worker.in_background", None)
    home = str(sqlite_config.home)
    done = CliRunner().invoke(cli, ["--home", home, "serve"], catch_exceptions=False)
    assert done.exit_code == 0 and "Serving" in done.stdout
    assert "strange/wanted" in done.stderr and "Its pages are served" in done.stderr
    assert served["note"] == commands_serve._UNTRUSTED


def test_trust_shows_commands_and_asks_nobody_where_nobody_is(call: Call, queued: Launch) -> None:
    answer = call("trust")
    assert answer.code == 1
    assert "LD_PRELOAD=x.so" in answer.err and "strange/wanted" in answer.err
    assert "is not trusted" in answer.out


def test_a_person_who_says_yes_trusts_the_home(
    queued: Launch, sqlite_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("branchtrack.cli.commands.trust.is_interactive", lambda: True)
    for answer, expected in (("n\n", False), ("y\n", True)):
        arguments = ["trust", str(sqlite_config.home)]
        CliRunner().invoke(cli, arguments, input=answer, catch_exceptions=False)
        assert trust.is_trusted(sqlite_config) is expected


def test_json_only_shows_unless_it_is_told_yes(
    call: Call, queued: Launch, sqlite_config: Config
) -> None:
    told = call("trust", "--json").json
    assert told["trusted"] is False and told["queued"][0]["branch"] == "strange/wanted"
    assert told["commands"][0]["run"] == "strange"
    assert not trust.is_trusted(sqlite_config)
    assert call("trust", "--json", "--yes").json["trusted"] is True
    assert call("trust", "--remove").code == 0
    assert not trust.is_trusted(sqlite_config)


def test_control_characters_of_a_command_are_not_obeyed(
    call: Call, sqlite_database: Database, store: Store, sqlite_config: Config
) -> None:
    hidden = {"argv": ["python", "\x1b[2Kharmless\rrm -rf"], "cwd": "/", "env": {}}
    make_tree(sqlite_database, store, "strange", entry_point=hidden)
    trust.forget(sqlite_config)
    answer = call("trust")
    assert "\x1b" not in answer.err and "\r" not in answer.err
    assert "rm -rf" in answer.err
