"""What is started is what was recorded, and what a log says is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from branchtrack import trust
from branchtrack.config import Config, load
from branchtrack.errors import LaunchFailed, UntrustedHome
from branchtrack.launching import local_process


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A home that its user trusts; nothing here needs a database."""
    found = load(tmp_path / "home")
    found.make_home()
    trust.mark(found)
    return found


def finish(process: subprocess.Popen[bytes]) -> int:
    with process:
        local_process.release(process)
        return process.wait(60)


def start(config: Config, code: str, tmp_path: Path, **more: Any) -> subprocess.Popen[bytes]:
    entry_point = {"argv": [sys.executable, "-c", code], "cwd": str(tmp_path), "env": {}, **more}
    return local_process.start(entry_point, "0123456789abcdef", config, tmp_path / "log")


def test_of_several_processes_the_error_of_the_one_that_failed_is_the_reason(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    log.write_text(
        "[rank1]: Traceback (most recent call last):\n"
        '[rank1]:   File "train.py", line 3, in <module>\n'
        "[rank1]: ValueError: no such data\n"
        "E1130 20:32:00.034000 3730 .venv/torch/distributed/elastic/multiprocessing/api.py:1002] "
        "failed (exitcode: 1) local_rank: 1\n"
        "Traceback (most recent call last):\n"
        '  File "run.py", line 1, in main\n'
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n"
        "train.py FAILED\n"
    )
    assert local_process.reason_in_log(log) == "ValueError: no such data"
    log.write_text(log.read_text().partition("E1130")[2].partition("\n")[2])
    assert "ChildFailedError" in local_process.reason_in_log(log)


def test_a_process_waits_for_its_release(config: Config, tmp_path: Path) -> None:
    process = start(config, "print('begun')", tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    assert (tmp_path / "log").read_text() == ""
    assert finish(process) == 0
    assert (tmp_path / "log").read_text() == "begun\n"


def test_a_process_whose_worker_dies_before_its_release_never_begins(
    config: Config, tmp_path: Path
) -> None:
    process = start(config, "print('begun')", tmp_path)
    with process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 75
    assert (tmp_path / "log").read_text() == ""


def test_a_process_that_died_at_its_gate_is_no_error_to_release(
    config: Config, tmp_path: Path
) -> None:
    process = start(config, "", tmp_path)
    process.kill()
    process.wait(60)
    assert finish(process) == -9


def test_a_process_is_in_a_session_of_its_own(config: Config, tmp_path: Path) -> None:
    process = start(config, "import os; print(os.getsid(0) == os.getpid())", tmp_path)
    finish(process)
    assert (tmp_path / "log").read_text() == "True\n"


def test_arguments_are_passed_as_they_are(config: Config, tmp_path: Path) -> None:
    odd = ["a b", "$HOME", "'", '"', "*", "; exit 3", "`id`", "\n", ""]
    argv = [sys.executable, "-c", "import sys; print(sys.argv[1:])", *odd]
    assert finish(start(config, "", tmp_path, argv=argv)) == 0
    assert (tmp_path / "log").read_text().strip() == str(odd)


def test_what_was_printed_before_is_kept(config: Config, tmp_path: Path) -> None:
    for word in ("one", "two"):
        finish(start(config, f"print({word!r})", tmp_path))
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("entry_point", [None, {}, {"argv": []}])
def test_nothing_recorded_is_nothing_to_start(config: Config, entry_point: Any) -> None:
    with pytest.raises(LaunchFailed, match="recorded no command"):
        local_process.start(entry_point, "x", config, config.home / "log")


def test_a_module_needs_no_script(config: Config, tmp_path: Path) -> None:
    process = start(config, "", tmp_path, argv=[sys.executable, "-m", "platform"])
    assert finish(process) == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [(None, "not known"), (0, "exit code 0"), (3, "exit code 3"), (-9, "SIGKILL"), (-63, "63")],
)
def test_an_ending_is_told_in_words(code: int | None, words: str) -> None:
    assert words in local_process.ending(code)


TRACEBACK = """Traceback (most recent call last):
  File "a.py", line 1, in <module>
    boom()
ValueError: too much
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("one\n\ntwo\n", "one\ntwo"),
        (TRACEBACK, "ValueError: too much"),
        (
            f"noise\n{TRACEBACK.replace('too much', 'first')}\nthen\n{TRACEBACK}",
            "ValueError: too much",
        ),
        (
            f"{TRACEBACK}  an indented hint\nlast line",
            "ValueError: too much\n  an indented hint\nlast line",
        ),
        ("\r 1%\r 50%\r100%\nkilled", "100%\nkilled"),
        ("\n".join(f"line {i}" for i in range(9)), "\n".join(f"line {i}" for i in range(4, 9))),
        ("Traceback (most recent call last):\n  File cut off", ""),
    ],
)
def test_the_last_lines_of_a_log_say_why(tmp_path: Path, text: str, words: str) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    assert local_process.reason_in_log(log) == words


def test_what_branchtrack_notes_in_a_log_is_no_reason(tmp_path: Path) -> None:
    log = tmp_path / "log"
    note = "branchtrack: Set here and not for the node's process: A, B.\n"
    log.write_text(note)
    assert local_process.reason_in_log(log) == ""
    log.write_text(f"{note}loading\n{note}")
    assert local_process.reason_in_log(log) == "loading"
    log.write_text(TRACEBACK + note)
    assert local_process.reason_in_log(log) == "ValueError: too much"
    log.write_text(f"branchtrack: refused: lr is too large\n{note}")
    assert local_process.reason_in_log(log) == "lr is too large"


def test_a_long_message_is_told_whole_whatever_is_printed_behind_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    message = f"CheckpointMismatch: betas is {'1, ' * 700} and was {'2, ' * 700}. Put it back."
    noise = "".join(f"warning {i}\n" for i in range(9))
    late = "Exception ignored in: <function f>\nTraceback (most recent call last):\nOSError: late\n"
    log.write_text(TRACEBACK.replace("ValueError: too much", message) + noise + late)
    assert local_process.reason_in_log(log).splitlines()[0] == message
    log.write_text(TRACEBACK.replace("too much", f"first {'x' * 20_000} last"))
    told = local_process.reason_in_log(log)
    assert len(told) < 9000 and "first xx" in told and told.endswith("xx last")


def test_the_last_lines_of_a_huge_or_binary_log_are_few(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 10_000_000 + b"\n\xff\xfe end")
    assert local_process.reason_in_log(log).endswith("end")
    assert len(local_process.reason_in_log(log)) <= 2000
    assert local_process.reason_in_log(tmp_path / "none") == ""


def test_a_shell_that_is_gone_is_a_clear_error(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_process, "_GATE", ("/no/such/shell",))
    with pytest.raises(LaunchFailed, match="cannot be started"):
        start(config, "", tmp_path)
    assert os.path.exists(config.logs)


def test_nothing_is_started_from_a_home_that_is_not_trusted(config: Config, tmp_path: Path) -> None:
    trust.forget(config)
    with pytest.raises(UntrustedHome, match="this user has not trusted it"):
        start(config, f"open({str(tmp_path / 'ran')!r}, 'w')", tmp_path)
    assert not (tmp_path / "ran").exists()
