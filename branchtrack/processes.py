"""Processes of this machine told apart for sure: a pid alone may be used again.

It must not know launches or the database.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


def own_name() -> str:
    """This process as ``host:pid:start``, a name that no other process ever has."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(os.getpid())}"


def is_gone(name: str) -> bool:
    """Whether the process of that name ran on this machine and runs no more.

    What follows a ``#`` tells apart what one process does. Of a process on another machine nothing
    is known, so it is never gone.
    """
    name = name.partition("#")[0]
    host, _, rest = name.rpartition(":")[0].rpartition(":")
    start = name.rpartition(":")[2]
    if host != socket.gethostname() or not rest.isdigit():
        return False
    return not is_alive(int(rest)) or _start(int(rest)) != start


def is_gone_from_here(name: str) -> bool | None:
    """As `is_gone`; None of a process on another machine."""
    here = name.startswith(f"{socket.gethostname()}:")
    return is_gone(name) if here else None


def is_alive(pid: int, variable: str = "") -> bool:
    """Whether a process of that pid runs, and was started with ``variable`` (``NAME=value``)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It runs, as somebody else: that cannot be a child of ours.
        return not variable
    fields = _fields(pid)
    if fields and fields[0] == "Z":
        return False
    return not variable or _has_variable(pid, variable)


def _has_variable(pid: int, variable: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        # No /proc on this system: the pid is all there is to go by.
        return not Path("/proc/self/environ").exists()
    return variable.encode() in environment.split(b"\0")


def _start(pid: int) -> str:
    """The time the process was started, in ticks since boot; empty where that is not told."""
    fields = _fields(pid)
    return fields[19] if len(fields) > 19 else ""


def _fields(pid: int) -> list[str]:
    """What /proc tells of a process from its state on; the name before may hold blanks."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
