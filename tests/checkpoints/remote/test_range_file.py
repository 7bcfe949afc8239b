"""A file of ranges reads as any file does, with few requests."""

from __future__ import annotations

import os
from io import BufferedReader

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchtrack.checkpoints.remote.range_file import RangeFile

WHOLE = os.urandom(3_000_000)


def opened(requests: list[tuple[int, int]]) -> BufferedReader:
    def fetch(start: int, length: int) -> bytes:
        requests.append((start, length))
        return WHOLE[start : start + length]

    return BufferedReader(RangeFile(len(WHOLE), fetch))


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) + 10), st.integers(0, 200_000)), max_size=8))
def test_any_reads_anywhere_give_the_bytes(reads: list[tuple[int, int]]) -> None:
    with opened([]) as file:
        for start, length in reads:
            file.seek(start)
            assert file.read(length) == WHOLE[start : start + length]


def test_reading_on_takes_fewer_and_longer_requests() -> None:
    requests: list[tuple[int, int]] = []
    with opened(requests) as file:
        read = b"".join(iter(lambda: file.read(10_000), b""))
    assert read == WHOLE and len(requests) <= 8
    assert sum(length for _, length in requests) == len(WHOLE)


def test_a_large_read_is_one_request() -> None:
    requests: list[tuple[int, int]] = []
    with opened(requests) as file:
        file.seek(1000)
        content = bytearray(2_000_000)
        assert file.readinto(content) == 2_000_000
    assert content == WHOLE[1000:2_001_000] and len(requests) <= 2


def test_the_end_is_known_without_a_request() -> None:
    requests: list[tuple[int, int]] = []
    with opened(requests) as file:
        assert file.seek(0, os.SEEK_END) == len(WHOLE) and file.read(10) == b""
        assert file.seek(-5, os.SEEK_CUR) == len(WHOLE) - 5
    assert requests == []


def test_fewer_bytes_than_asked_for_are_an_error() -> None:
    with BufferedReader(RangeFile(100, lambda start, length: b"x")) as file, pytest.raises(OSError):
        file.read(50)
