"""A home has its packs in one place, and every process of it knows where."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from branchtrack import store_address
from branchtrack.config import load
from branchtrack.environment_variables import (
    STORE_CACHE_VARIABLE,
    STORE_SPOOL_VARIABLE,
    STORE_VARIABLE,
)
from branchtrack.errors import HomeError, InvalidInput
from branchtrack.store_address import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://bucket", Address("bucket")),
        ("s3://bucket/", Address("bucket")),
        (" s3://my.bucket-1/team/homes/ ", Address("my.bucket-1", "team/homes")),
    ],
)
def test_an_address_is_a_bucket_and_a_prefix(text: str, address: Address) -> None:
    assert store_address.parse(text) == address
    assert store_address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "bucket",
        "s3://",
        "s3://ab",
        "s3://UPPER/x",
        "gs://bucket",
        "/srv/store",
        "s3://bucket/a//b",
        "s3://bucket/../x",
        "s3://bucket/a?b",
        "s3://key:secret@bucket/x",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="s3://bucket/prefix") as caught:
        store_address.parse(text)
    assert "secret" not in str(caught.value)


def test_a_home_without_the_variable_has_its_own_folder(tmp_path: Path) -> None:
    assert store_address.of_home(tmp_path) is None


def test_a_home_remembers_its_bucket_when_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, "s3://bucket/prefix/")
    home = load(tmp_path / "home")
    home.make_home()
    monkeypatch.delenv(STORE_VARIABLE)
    assert store_address.of_home(home.home) == Address("bucket", "prefix")
    # The same words in another spelling name the same place.
    monkeypatch.setenv(STORE_VARIABLE, "s3://bucket/prefix")
    assert store_address.of_home(home.home) == Address("bucket", "prefix")


def test_another_bucket_than_the_remembered_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_address.remember(tmp_path, Address("bucket"))
    monkeypatch.setenv(STORE_VARIABLE, "s3://other")
    with pytest.raises(InvalidInput, match=r"has its packs in s3://bucket, but .* s3://other"):
        store_address.of_home(tmp_path)
    with pytest.raises(InvalidInput):
        store_address.remember(tmp_path, Address("other"))


def test_a_home_with_packs_in_its_folder_does_not_begin_another_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store" / "packs" / "ab").mkdir(parents=True)
    monkeypatch.setenv(STORE_VARIABLE, "s3://bucket")
    with pytest.raises(InvalidInput, match="Moving a home"):
        store_address.of_home(tmp_path)


def test_of_processes_that_begin_at_once_one_decides(tmp_path: Path) -> None:
    results: list[str] = []

    def begin(number: int) -> None:
        try:
            store_address.remember(tmp_path, Address(f"bucket-{number}"))
            results.append("first")
        except InvalidInput:
            results.append("refused")

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["first", *["refused"] * 7]
    assert [path.name for path in tmp_path.iterdir()] == [store_address.FILE]


def test_what_a_home_remembers_has_to_be_readable(tmp_path: Path) -> None:
    (tmp_path / store_address.FILE).write_text("nonsense")
    with pytest.raises(HomeError, match="damaged"):
        store_address.of_home(tmp_path)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("500MB", 500_000_000),
        ("1.5 GiB", 3 << 29),
        ("2tb", 2 * 10**12),
    ],
)
def test_sizes_are_bytes_or_have_a_unit(
    text: str, nbytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_CACHE_VARIABLE, text)
    assert store_address.cache_bytes() == nbytes
    assert store_address.spool_bytes() == store_address.SPOOL_BYTES


@pytest.mark.parametrize("text", ["much", "-1", "10 apples", "1e9"])
def test_a_size_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE_SPOOL_VARIABLE, text)
    with pytest.raises(InvalidInput, match=STORE_SPOOL_VARIABLE):
        store_address.spool_bytes()
