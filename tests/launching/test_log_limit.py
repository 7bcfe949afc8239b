"""A log that is too long keeps its beginning and its newest part, while its process writes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from branchtrack.errors import InvalidInput
from branchtrack.launching import log_limit

LIMIT = 8192
WRITER = (
    "import os\n"
    "out = os.open({path!r}, os.O_WRONLY | os.O_APPEND)\n"
    "for number in range({count}):\n"
    "    os.write(out, b'line %06d\\n' % number)\n"
    "print('done', flush=True)\n"
    "input()\n"
    "os.write(out, b'the end\\n')\n"
)


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"^line (\d{6})$", text, re.MULTILINE)]


def lines(first: int, last: int) -> str:
    return "".join(f"line {number:06}\n" for number in range(first, last))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "launch.log"


def test_a_short_log_and_one_that_is_not_there_stay_as_they_are(log: Path) -> None:
    assert log_limit.shorten(log, LIMIT) == 0
    log.write_text(lines(0, 100))
    assert log_limit.shorten(log, LIMIT) == 0
    assert log.read_text() == lines(0, 100)


def test_the_first_and_the_newest_part_stay_and_the_bytes_between_are_counted(log: Path) -> None:
    whole = lines(0, 5000)
    log.write_text(whole)
    dropped = log_limit.shorten(log, LIMIT)
    text = log.read_text()
    assert len(text) <= LIMIT
    before, mark, after = re.split(r"\n(\[branchtrack: .*\])\n", text)
    assert mark == f"[branchtrack: {dropped} bytes of this output were dropped here]"
    assert whole.startswith(before) and len(before) == LIMIT // 4
    assert whole.endswith(after) and after.startswith("line ")
    assert len(before) + dropped + len(after) == len(whole)


def test_what_was_dropped_earlier_is_counted_with_it(log: Path) -> None:
    written = ""
    for part in range(4):
        more = lines(part * 2000, (part + 1) * 2000)
        written += more
        with log.open("a") as file:
            file.write(more)
        dropped = log_limit.shorten(log, LIMIT)
    text = log.read_text()
    (mark,) = re.findall(r"\n\[branchtrack: .*\]\n", text)
    assert len(text) - len(mark) + dropped == len(written)
    assert numbers(text)[-1] == 7999


def test_a_process_that_has_it_open_writes_on_behind_what_was_kept(log: Path) -> None:
    log.touch()
    code = WRITER.format(path=str(log), count=3000)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        while process.poll() is None and log.stat().st_size < 3000 * 12:
            log_limit.shorten(log, LIMIT)
            if numbers(log.read_text())[-1:] == [2999]:
                break
        assert process.stdout.readline() == b"done\n"
        log_limit.shorten(log, LIMIT)
        process.communicate(b"\n")
    text = log.read_text()
    assert text.endswith("line 002999\nthe end\n") and text.startswith("line 000000\n")
    assert log_limit.shorten(log, LIMIT) == 0 or len(log.read_text()) <= LIMIT
    found = numbers(text)
    assert found == sorted(set(found)) and "\0" not in text


def test_one_long_line_is_shortened_like_any_other_output(log: Path) -> None:
    log.write_bytes(b"x" * 3 * LIMIT)
    assert log_limit.shorten(log, LIMIT) > 0
    assert log.stat().st_size < LIMIT


def test_the_limit_is_a_number_of_bytes_of_the_environment() -> None:
    assert log_limit.limit_in_force("") == log_limit.LIMIT
    assert log_limit.limit_in_force(" 4096 ") == 4096
    for wrong in ("4095", "16M", "-1", "1e6"):
        with pytest.raises(InvalidInput, match="BRANCHTRACK_LOG_LIMIT"):
            log_limit.limit_in_force(wrong)
