"""Copies stay within their size, may vanish at any time, and are never half there."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from branchtrack.checkpoints.remote.pack_cache import PackCache

IDS = [f"{number:02x}" * 16 for number in range(20)]


def put(cache: PackCache, pack: str, content: bytes = b"x" * 100) -> bool:
    return cache.add(pack, len(content), lambda file: void(os.write(file, content)))


def void(_: int) -> None:
    """What a writer returns."""


def there(cache: PackCache) -> list[str]:
    opened = {pack: cache.open(pack) for pack in IDS}
    for file in opened.values():
        if file is not None:
            file.close()
    return [pack for pack, file in opened.items() if file is not None]


def age(tmp_path: Path, pack: str, seconds: float) -> None:
    path = tmp_path / "cache" / "packs" / pack[:2] / f"{pack}.safetensors"
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


def test_what_was_not_read_for_longest_goes_first(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "cache", 300)
    for number, pack in enumerate(IDS[:3]):
        assert put(cache, pack)
        age(tmp_path, pack, 1000 - 100 * number)
    file = cache.open(IDS[0])
    assert file is not None and put(cache, IDS[3])
    # What is deleted or replaced while it is read stays readable.
    assert file.read() == b"x" * 100
    file.close()
    assert there(cache) == [IDS[0], IDS[2], IDS[3]] and cache.nbytes == 300


def test_what_is_longer_than_the_limit_is_not_copied(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "cache", 99)
    assert not put(cache, IDS[0]) and there(cache) == []
    assert not PackCache(tmp_path / "none", 0).takes(1)


@pytest.mark.parametrize("content", [b"x" * 99, b""])
def test_a_copy_that_is_too_short_is_none(tmp_path: Path, content: bytes) -> None:
    cache = PackCache(tmp_path / "cache", 300)
    assert not cache.add(IDS[0], 100, lambda file: void(os.write(file, content)))
    assert there(cache) == [] and list((tmp_path / "cache" / "tmp").iterdir()) == []


def test_an_error_of_the_writer_leaves_nothing(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "cache", 300)

    def fails(file: int) -> None:
        raise OSError(5, "network")

    with pytest.raises(OSError, match="network"):
        cache.add(IDS[0], 100, fails)
    assert there(cache) == [] and list((tmp_path / "cache" / "tmp").iterdir()) == []


def test_a_file_is_adopted_or_deleted(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "cache", 100)
    for number, nbytes in enumerate((100, 101)):
        path = tmp_path / f"{number}"
        path.write_bytes(b"y" * nbytes)
        cache.adopt(IDS[number], path)
        assert not path.exists()
    assert there(cache) == [IDS[0]]
    assert cache.drop(IDS[0]) and not cache.drop(IDS[0]) and there(cache) == []


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    cache = PackCache(tmp_path / "cache", 1000)
    put(cache, IDS[0])
    left = tmp_path / "cache" / "tmp" / f"{os.uname().nodename}:999999999:1#x"
    left.write_bytes(b"half")
    put(cache, IDS[1])
    assert left.exists()
    os.utime(left, (0, 0))
    put(cache, IDS[2])
    assert not left.exists()


def test_a_disk_that_cannot_be_written_only_means_no_copies(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    cache = PackCache(tmp_path / "cache", 1000)
    assert not put(cache, IDS[0]) and cache.open(IDS[0]) is None and cache.nbytes == 0


def test_many_writers_stay_within_the_limit(tmp_path: Path) -> None:
    def work(first: int) -> None:
        cache = PackCache(tmp_path / "cache", 500)
        for pack in [*IDS[first:], *IDS[:first]]:
            put(cache, pack)
            file = cache.open(pack)
            if file is not None:
                assert file.read() == b"x" * 100
                file.close()

    threads = [threading.Thread(target=work, args=(5 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < PackCache(tmp_path / "cache", 500).nbytes <= 500
