"""Open shards: their items are those of the fingerprint, or an error that names the shard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import IterableDataset

from branchtrack.errors import DataChanged, InvalidInput
from branchtrack.training.data.live import readers, sources


def array(path: Path, first: int) -> Path:
    np.save(path, np.arange(first, first + 4))
    return path


def test_a_file_that_is_in_memory_may_change_or_go(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n")
    source = sources.open_path(path, None)
    path.unlink()
    assert [source.item(n, "a") for n in range(2)] == ["one", "two"]


def test_a_file_that_is_read_from_is_what_it_was_or_an_error(tmp_path: Path) -> None:
    path = array(tmp_path / "a.npy", 0)
    source = sources.open_path(path, None)
    assert int(source.item(1, "numbers")) == 1
    os.utime(path, ns=(1, 1))
    assert int(source.item(2, "numbers")) == 2
    array(tmp_path / "b.npy", 9).rename(path)
    with pytest.raises(DataChanged, match="Shard numbers of the data is not what it was") as error:
        source.item(1, "numbers")
    assert (error.value.shard, error.value.source) == ("numbers", str(path))
    path.unlink()
    with pytest.raises(DataChanged, match="numbers .* cannot be read any more"):
        source.item(1, "numbers")


@pytest.mark.parametrize("is_own", [False, True])
def test_an_item_of_a_folder_is_what_it_was_or_an_error(tmp_path: Path, is_own: bool) -> None:
    for number in range(40):
        array(tmp_path / f"{number:02}.npy", 4 * number)

    def read(folder: Path) -> Any:
        return readers.joined([np.load(p, mmap_mode="r") for p in readers.files_of(folder)])

    source = sources.open_path(tmp_path, read if is_own else None)
    assert len(source) == 160 and int(source.item(157, "numbers")) == 157
    # Written in place: what is mapped changes.
    changed = np.load(tmp_path / "39.npy", mmap_mode="r+")
    changed[:] = 0
    changed.flush()
    with pytest.raises(DataChanged, match="numbers"):
        source.item(158, "numbers")


def test_only_files_and_folders_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "link.txt").symlink_to("nowhere")
    for name, why in (("pipe.txt", "neither a file nor a folder"), ("link.txt", "not there")):
        with pytest.raises(InvalidInput, match=why):
            sources.open_path(tmp_path / name, None)


def test_a_reader_of_the_script_gets_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    source = sources.open_path(path, lambda given: list(given.read_bytes()))
    assert source.item(0, "a") == 97 and source.shard("a", 2.0).source == str(path)


class Endless(IterableDataset[int]):
    """A stream."""

    def __iter__(self) -> Any:
        return iter(int, 1)


def test_what_has_no_items_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    for path in (empty, tmp_path, tmp_path / "none.txt"):
        with pytest.raises(InvalidInput, match=path.name):
            sources.open_path(path, None)
    for items in ([], Endless(), 3):
        with pytest.raises(InvalidInput, match="shards.a"):
            sources.open_items(items, "a")


def test_a_file_that_is_written_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n")

    def read(given: Path) -> list[str]:
        given.write_text("one\ntwo\n")
        return ["one"]

    with pytest.raises(InvalidInput, match="nobody writes to"):
        sources.open_path(path, read)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.safetensors", b"\xff" * 100),
        ("a.csv", b"x\n" + b"1" * 200_000),
        ("a.json", b"[" * 100_000),
        ("a.npy", None),
    ],
    ids=["tensors", "table", "nested", "number"],
)
def test_whatever_a_reader_stumbles_over_names_the_file(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is None:
        np.save(path, np.array(3))
    else:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"{name} cannot be used"):
        sources.open_path(path, None)


def test_an_error_of_a_reader_of_the_script_names_the_file(tmp_path: Path) -> None:
    def read(path: Path) -> Any:
        raise EOFError("no magic")

    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(InvalidInput, match="a.bin cannot be used: EOFError: no magic"):
        sources.open_path(tmp_path / "a.bin", read)
