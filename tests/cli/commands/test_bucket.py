"""Every command on the store works with packs in a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import store_address
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.checkpoints.remote.bucket import Bucket
from branchtrack.config import Config
from branchtrack.core.records import Node
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.environment_variables import STORE_VARIABLE
from tests.cli.conftest import Call, call_on
from tests.control.store.test_spooled import leave
from tests.retention.trees import certify, chain
from tests.trees_for_tests import make_tree


@pytest.fixture
def store(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    return open_store(tmp_path / "home" / "store")


@pytest.fixture
def line(sqlite_database: Database, store: Store) -> list[Node]:
    """Five nodes of a run ``demo``, certified exact."""
    made = chain(make_tree(sqlite_database, store))
    certify(sqlite_database, made[0], made[-1])
    return made


def at_rest(database: Database, line: list[Node]) -> None:
    with database.transaction() as connection:
        segments.end(connection, line[-1].segment_id, "finished", actor="test")


def test_storage_says_where_packs_are_and_what_waits(
    call: Call, line: list[Node], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = call("storage", "--json").json
    assert payload["waiting"] == {"commits": 0, "bytes": 0} and payload["stored_bytes"] > 0
    # The home remembers its bucket.
    monkeypatch.delenv(STORE_VARIABLE)
    shown = call("storage").out
    assert bucket in shown and "0 commits, 0 B" in shown


def test_what_was_left_is_uploaded(
    call: Call, line: list[Node], sqlite_database: Database, store: Store
) -> None:
    leave(sqlite_database, store, line[-1], line[-1].step + 1)
    assert call("storage", "--json").json["waiting"]["commits"] == 1
    assert "1 were uploaded" in call("storage", "--upload").out
    assert call("storage", "--upload", "--json").json["waiting"]["commits"] == 0
    assert "Nothing was left" in call("storage", "--upload").out
    assert len(call("tree", "demo", "--json").json["nodes"]) == 6


def test_the_bucket_is_tried(call: Call, line: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    done = call("storage", "--check")
    assert done.code == 0 and done.out.count("works") == 5
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    done = call("storage", "--check")
    assert done.code == 1 and "credentials (SignatureDoesNotMatch)" in done.out
    checks = call("storage", "--check", "--json").json["checks"]
    assert all(check["wrong"] for check in checks)


def test_a_folder_has_nothing_to_try(tmp_path: Path, sqlite_database: Database) -> None:
    done = call_on(tmp_path / "home", "storage", "--check")
    assert done.code == 2 and "a home whose packs are in a bucket" in done.err
    assert "waiting" not in call_on(tmp_path / "home", "storage", "--json").json


def test_a_sweep_frees_objects(call: Call, line: list[Node], store: Store) -> None:
    before = {pack.id for pack in store.packs()}
    swept = call("gc", "demo", "--keep", "thin", "--json").json["runs"][0]
    assert swept["recipe"] == 3 and swept["freed_bytes"] > 0
    after = {pack.id for pack in store.packs()}
    assert after != before and len(after) < len(before)
    assert call("verify", "--all").code == 0


def test_a_sweep_of_a_bucket_that_is_away_is_finished_by_the_next(
    call: Call, line: list[Node], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {pack.id for pack in store.packs()}
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        done = call("gc", "demo", "--keep", "thin")
        assert done.code != 0 and "cannot be reached" in done.err and "s3://" in done.err
    assert {pack.id for pack in store.packs()} == before
    call("gc", "demo", "--keep", "thin")
    assert len({pack.id for pack in store.packs()}) < len(before)
    assert call("verify", "--all").code == 0


def test_verify_reads_the_bucket_and_not_the_copies(
    call: Call, line: list[Node], store: Store, sqlite_database: Database
) -> None:
    assert call("verify", "--all").code == 0
    pack = next(store.packs()).id
    store.delete(pack)
    done = call("verify", "--all")
    assert done.code == 1 and "missing" in done.out + done.err


def test_a_run_leaves_in_a_bundle_and_arrives_in_a_folder(
    call: Call,
    line: list[Node],
    sqlite_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = tmp_path / "demo.bundle"
    at_rest(sqlite_database, line)
    assert call("bundle", "demo", str(bundle)).code == 0
    monkeypatch.delenv(STORE_VARIABLE)
    other = tmp_path / "other"
    assert call_on(other, "unbundle", str(bundle)).code == 0
    assert list((other / "store" / "packs").rglob("*.safetensors"))
    assert call_on(other, "verify", "--all").code == 0


def test_a_run_arrives_in_a_bucket(
    call: Call,
    line: list[Node],
    sqlite_database: Database,
    tmp_path: Path,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = tmp_path / "demo.bundle"
    at_rest(sqlite_database, line)
    assert call("bundle", "demo", str(bundle)).code == 0
    monkeypatch.setenv(STORE_VARIABLE, f"{bucket}-other")
    other = tmp_path / "other"
    assert call_on(other, "unbundle", str(bundle)).code == 0
    assert not (other / "store" / "packs").exists()
    assert call_on(other, "verify", "--all").code == 0


def test_weights_are_exported(call: Call, line: list[Node], tmp_path: Path) -> None:
    done = call("export", line[-1].id, str(tmp_path / "out"), "--raw")
    assert done.code == 0 and list((tmp_path / "out").iterdir())


def test_a_home_is_moved_into_a_bucket_and_back_by_copying(
    bucket: str, sqlite_config: Config, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, folder = sqlite_config.home, open_store(sqlite_config.store)
    chain(make_tree(sqlite_database, folder))
    there = Bucket(store_address.parse(bucket))
    for path in (home / "store" / "packs").rglob("*.safetensors"):
        there.put(path.stem, [path.read_bytes()])
    monkeypatch.setenv(STORE_VARIABLE, bucket)
    refused = call_on(home, "init")
    assert refused.code == 2 and "Moving a home" in refused.err
    (home / "store" / "packs").rename(home / "store" / "packs-old")
    assert call_on(home, "init").code == 0
    monkeypatch.delenv(STORE_VARIABLE)
    assert call_on(home, "verify", "--all").code == 0
    assert bucket in call_on(home, "storage").out
    (home / "store" / "packs-old").rename(home / "store" / "packs")
    (home / store_address.FILE).unlink()
    assert call_on(home, "verify", "--all").code == 0
    assert bucket not in call_on(home, "storage").out
