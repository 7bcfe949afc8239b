"""Processes of this machine, identified by more than a pid, which may be used again.

It must not know launches or the database.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


def own_name() -> str:
    """Return the name of this process, ``host:pid:start``, which no other process ever has."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(os.getpid())}"


def is_gone(name: str) -> bool:
    """Return whether the process of that name ran on this machine and has ended.

    What follows a ``#`` distinguishes several tasks of one process. The state of a process on
    another machine is unknown, so it counts as running.
    """
    name = name.partition("#")[0]
    host, _, rest = name.rpartition(":")[0].rpartition(":")
    start = name.rpartition(":")[2]
    if host != socket.gethostname() or not rest.isdigit():
        return False
    return not is_alive(int(rest)) or _start(int(rest)) != start


def is_gone_from_here(name: str) -> bool | None:
    """Do as `is_gone`, but return None for a process on another machine."""
    here = name.startswith(f"{socket.gethostname()}:")
    return is_gone(name) if here else None


def is_alive(pid: int, variable: str = "") -> bool:
    """Return whether a process of that pid runs, started with ``variable`` (``NAME=value``)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It runs as another user, so it cannot be a child of this process.
        return not variable
    fields = _fields(pid)
    if fields and fields[0] == "Z":
        return False
    return not variable or _has_variable(pid, variable)


def _has_variable(pid: int, variable: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        # This system has no /proc: the pid is all there is.
        return not Path("/proc/self/environ").exists()
    return variable.encode() in environment.split(b"\0")


def _start(pid: int) -> str:
    """Return when the process was started, in ticks since boot; empty if unknown."""
    fields = _fields(pid)
    return fields[19] if len(fields) > 19 else ""


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc after the process's name, which may contain blanks."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
