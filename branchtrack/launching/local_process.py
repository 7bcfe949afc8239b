"""Starting a training process on this machine, as its run recorded it, and reading its log.

Only what a trainer itself recorded is ever started. It must not know the queue.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from branchtrack import permissions, refusal_lines, trust
from branchtrack.config import Config
from branchtrack.control import describe_missing, describe_way_to_start
from branchtrack.core.variables import ASSIGNED
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.errors import LaunchFailed

#: Waits for a line before it becomes the training process, so that no process runs unrecorded.
_GATE = ("/bin/sh", "-c", 'read -r go || exit 75; exec "$@"', "branchtrack-launch")
_TAIL = 65_536
#: Characters of an error's own message that are kept, from both ends: the start has values, the end
#: the way out.
_MESSAGE = 8000
_IGNORED = "Exception ignored in"
#: What torch puts before the lines of an error of one of several processes, and the error of its
#: launcher then.
_OF_RANK = re.compile(r"^\[rank\d+\]: ?")
_OF_LAUNCHER = "ChildFailedError"
_LAUNCHER_LOGS = re.compile(r"^[EIW]\d{4} \S+ \d+ \S*torch/distributed/elastic/")
#: What branchtrack itself notes in a log: it is no reason for an end.
_NOTED = "branchtrack: "


def start(
    entry_point: dict[str, Any] | None,
    launch: str | None,
    config: Config,
    log: Path,
    extra: Mapping[str, str] | None = None,
    *,
    keep: bool = False,
    before: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start the recorded command in a session of its own, where it waits for `release`.

    ``extra`` are further variables; without a ``launch`` they say what the process is for. With
    ``keep`` the recorded variables are not restored. ``before`` is a command that runs the recorded
    one, which it gets as its last arguments.

    Raises:
        UntrustedHome: the user does not trust this home, so none of its commands is started.
        LaunchFailed: no command was recorded, its folder or script is gone, or it cannot be
        started.
    """
    trust.check(config)
    recorded = entry_point or {}
    argv = _command(recorded, launch)
    variables = {} if keep else recorded.get("env", {})
    assigned = ASSIGNED & os.environ.keys()
    environment = {
        **os.environ,
        **{name: value for name, value in variables.items() if name not in assigned},
        **config.environment(),
        **(extra or {}),
        **({LAUNCH_VARIABLE: launch} if launch else {}),
    }
    config.make_home()
    try:
        with open(log, "ab", opener=permissions.opener(config.home)) as output:
            return subprocess.Popen(
                [*_GATE, *before, *argv],
                cwd=recorded.get("cwd") or ".",
                env=environment,
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
    except OSError as error:
        raise _failed(launch, f"The process cannot be started: {error}.", "") from error


def release(process: subprocess.Popen[bytes]) -> None:
    """Let a started process begin to train."""
    assert process.stdin is not None
    try:
        process.stdin.write(b"go\n")
        process.stdin.close()
    except BrokenPipeError:
        # It is dead already; its worker will record how it ended.
        return


def log_path(config: Config, launch: str) -> Path:
    """Return the file for the output of a launch's process."""
    return config.logs / f"{launch}.log"


def ending(exit_code: int | None) -> str:
    """Describe how a process ended."""
    if exit_code is None:
        return "The process is gone; how it ended is not known."
    if exit_code < 0:
        return f"The process was killed by {_signal_name(-exit_code)}."
    return f"The process ended with exit code {exit_code}."


def reason_in_log(log: Path, limit: int = 2000) -> str:
    """Return the lines of a log that give the reason for its end.

    They are a refusal by branchtrack, else the message of the last traceback, or the last lines
    of the script's own.
    """
    lines = _lines(log)
    own = refusal_lines.parse_refusal(lines)
    of_script = [
        line for line in lines if not (line.startswith(_NOTED) or _LAUNCHER_LOGS.match(line))
    ]
    return own or _last_lines(of_script, limit)


def refusal(log: Path) -> str:
    """Return branchtrack's refusal of a launched script; empty if the process ended otherwise."""
    return refusal_lines.parse_refusal(_lines(log))


def _lines(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    # A progress bar rewrites its line: what follows the last carriage return is what it showed
    # last.
    lines = [_OF_RANK.sub("", line.rstrip().rpartition("\r")[2]) for line in text.split("\n")]
    return [line for line in lines if line.strip()]


def _last_lines(lines: list[str], limit: int) -> str:
    starts = [
        i
        for i, line in enumerate(lines)
        if line.startswith("Traceback (most recent call")
        and not lines[max(i - 1, 0)].startswith(_IGNORED)
    ]
    if len(starts) > 1 and any(_OF_LAUNCHER in line for line in lines[starts[-1] :]):
        # A launcher of several processes says in its own words that one has failed.
        del lines[starts.pop() :]
    if not starts:
        return "\n".join(lines[-5:])[-limit:]
    # Libraries may still print after the message, while the process ends.
    message = itertools.dropwhile(lambda line: line.startswith(" "), lines[starts[-1] + 1 :])
    text = "\n".join(itertools.islice(message, 5))
    half = _MESSAGE // 2
    return text if len(text) <= _MESSAGE else f"{text[:half]} ... {text[-half:]}"


def _command(entry_point: dict[str, Any], launch: str | None) -> list[str]:
    gone = describe_missing(entry_point)
    if gone:
        raise _failed(launch, gone, describe_way_to_start(entry_point, "NODE"))
    argv = entry_point["argv"]
    return [argv[0] if os.access(argv[0], os.X_OK) else sys.executable, *argv[1:]]


def _failed(launch: str | None, what: str, fix: str) -> LaunchFailed:
    safe = "The node that it should have continued is untouched."
    return LaunchFailed(what, safe=safe, fix=fix, launch=launch, exit_code=None, log=None)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
