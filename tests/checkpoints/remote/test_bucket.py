"""A bucket of a real server holds packs as a folder does, and says what is wrong with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from unittest import mock

import pytest

from branchtrack import store_address
from branchtrack.checkpoints.remote import bucket as buckets
from branchtrack.checkpoints.remote import multipart
from branchtrack.checkpoints.remote.bucket import Bucket
from branchtrack.checkpoints.remote.bucket_errors import BucketError
from branchtrack.errors import InvalidInput
from tests.s3_servers import Server

PACK = "0123456789abcdef" * 2


@pytest.fixture
def there(bucket: str) -> Bucket:
    return Bucket(store_address.parse(bucket))


def content(there: Bucket) -> bytes:
    with there.open(PACK) as file:
        return file.read()


def counted(there: Bucket, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The options of all puts from now on."""
    puts: list[dict[str, object]] = []
    put = Bucket._put

    def noted(self: Bucket, key: str, pieces: object, **options: object) -> None:
        puts.append(options)
        put(self, key, pieces, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Bucket, "_put", noted)
    return puts


def test_a_pack_is_put_once_and_on_condition(
    there: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts = counted(there, monkeypatch)
    there.put(PACK, [b"abc", b"", memoryview(b"defg")])
    there.put(PACK, [b"abcdefg"])
    assert content(there) == b"abcdefg"
    assert [options["mode"] for options in puts] == ["create", "create"]


@pytest.mark.parametrize("damage", [b"abcXefg", b"abc", b"abcdefgh"])
def test_a_damaged_pack_is_replaced(there: Bucket, damage: bytes) -> None:
    there.put(PACK, [damage])
    there.put(PACK, [b"abcdefg"])
    assert content(there) == b"abcdefg"


def test_a_long_pack_goes_in_parts_and_only_once(
    there: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "SINGLE_BYTES", 1000)
    monkeypatch.setattr(buckets, "_PART", 5 << 20)
    puts = counted(there, monkeypatch)
    first, second = os.urandom(6 << 20), os.urandom(7 << 20)
    there.put(PACK, [first, second])
    assert content(there) == first + second and there.size(PACK) == 13 << 20
    there.put(PACK, [first + second])
    assert len(puts) == 1 and puts[0]["use_multipart"]
    there.put(PACK, [second, first])
    assert content(there) == second + first


def test_what_is_read_is_what_is_transferred(
    there: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.urandom(3 << 20)
    there.put(PACK, [whole])
    transferred: list[int] = []
    read = Bucket._range

    def noted(self: Bucket, key: str, start: int, length: int) -> bytes:
        transferred.append(length)
        return read(self, key, start, length)

    monkeypatch.setattr(Bucket, "_range", noted)
    with there.open(PACK) as file:
        file.seek(2 << 20)
        assert file.read(1000) == whole[2 << 20 :][:1000]
    assert sum(transferred) <= 64 * 1024


def test_only_packs_are_listed_with_their_age_and_length(there: Bucket, bucket: str) -> None:
    there.put(PACK, [b"abc"])
    other = Bucket(store_address.parse(f"{bucket}-other"))
    other.put(PACK, [b"abcd"])
    there._create(f"{there.address.prefix}/packs/ab/notes.txt", [b"by hand"])
    (listed,) = there.list()
    assert (listed.id, listed.nbytes) == (PACK, 3) and 0 <= listed.age < 60
    assert [item.nbytes for item in other.list()] == [4]
    there.delete(PACK)
    assert list(there.list()) == [] and not there.exists(PACK) and other.exists(PACK)
    with pytest.raises(FileNotFoundError):
        there.delete(PACK)


def reading(there: Bucket) -> None:
    there.open(PACK)


ATTEMPTS: dict[str, Callable[[Bucket], object]] = {
    "put": lambda there: there.put(PACK, [b"abc"]),
    "open": reading,
    "exists": lambda there: there.exists(PACK),
    "list": lambda there: list(there.list()),
    "delete": lambda there: there.delete(PACK),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_wrong_key_is_an_error_that_says_so_and_names_no_secret(
    attempt: str, there: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    with pytest.raises(BucketError, match=r"credentials|denied") as caught:
        ATTEMPTS[attempt](there)
    assert "a-wrong-secret" not in f"{caught.value}{caught.value.fix}{caught.value.__cause__}"


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_an_endpoint_that_is_down_is_an_error_that_says_so(
    attempt: str, there: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(BucketError, match="cannot be reached") as caught:
        ATTEMPTS[attempt](there)
    assert "AWS_ENDPOINT_URL" in caught.value.fix


def test_an_endpoint_that_does_not_answer_is_given_up(
    there: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "_QUESTION_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(BucketError, match="did not answer in time"):
            there.exists(PACK)


def test_a_key_that_may_only_read_is_told_what_it_lacks(
    there: Bucket, s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.put(PACK, [b"abc"])
    for name, value in s3_server.environment("reader").items():
        monkeypatch.setenv(name, value)
    reader = Bucket(there.address)
    assert content(reader) == b"abc"
    with pytest.raises(BucketError, match=r"denied \(AccessDenied\)") as caught:
        reader.put(PACK[::-1], [b"abc"])
    assert "PutObject" in caught.value.fix


def test_a_bucket_that_is_not_there_is_no_missing_pack(
    s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment("reader").items():
        monkeypatch.setenv(name, value)
    there = Bucket(store_address.parse("s3://never-made"))
    with pytest.raises(BucketError, match="no bucket 'never-made'"):
        there.range(PACK, 0, 10)
    with pytest.raises(BucketError, match="no bucket 'never-made'"):
        there.open(PACK)
    assert not there.is_present()


def test_no_credentials_are_named_as_what_is_missing(
    there: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # Of the machine's role, which is asked next, there is nothing here.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BucketError, match="credentials") as caught:
        there.exists(PACK)
    assert "AWS_ACCESS_KEY_ID" in caught.value.fix


def test_the_check_tries_all_that_a_store_needs(
    there: Bucket, s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = there.check()
    assert [what.split()[0] for what, _ in results] == ["write", "refuse", "read", "list", "delete"]
    assert {wrong for _, wrong in results} == {""}
    for name, value in s3_server.environment("reader").items():
        monkeypatch.setenv(name, value)
    wrong = dict(Bucket(there.address).check())
    assert "denied" in wrong["write an object"] and not wrong["list it"]


def test_a_store_that_replaces_what_is_there_is_noticed(there: Bucket) -> None:
    with mock.patch.object(Bucket, "_create", lambda self, key, pieces: True):
        results = dict(there.check())
    assert results["refuse to write it again (If-None-Match)"].startswith("it was replaced")


def test_uploads_that_were_begun_are_aborted_once_they_are_abandoned(there: Bucket) -> None:
    key = there.key(PACK)
    multipart._request("POST", there.address.bucket, key, {"uploads": ""})
    multipart._request("POST", there.address.bucket, "elsewhere/x", {"uploads": ""})
    (begun,) = there.unfinished()
    assert begun.id == key and begun.age < 60
    assert there.delete_unfinished(lambda name, age: False) == 0
    assert there.delete_unfinished(lambda name, age: name == key) == 1
    assert list(there.unfinished()) == []


def test_without_the_client_the_extra_is_named(bucket: str) -> None:
    with (
        mock.patch.dict(sys.modules, {"obstore": None}),
        pytest.raises(InvalidInput, match=r'pip install "branchtrack\[s3\]"'),
    ):
        Bucket(store_address.parse(bucket))


def test_a_home_with_a_folder_never_loads_the_client() -> None:
    code = (
        "import sys, branchtrack.web.app, branchtrack.cli.commands.storage\n"
        "from pathlib import Path\n"
        "from branchtrack.checkpoints.location import open_store\n"
        "open_store(Path('/nowhere/home/store')); print('obstore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
