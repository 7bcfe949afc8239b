"""Who may read a home: its user alone, unless it is shared with a group.

The mode of the folder ``store`` decides, and everything new in the home follows it: a shared home
stays shared, and users need not repeat an option. The umask of the process is ignored, and never
changed, because other threads would create files with it.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o700
#: Everything created in such a folder belongs to its group, too.
SHARED = 0o2770
STORE = "store"


def of_home(home: Path) -> int:
    """Return the mode of folders in a home."""
    return of_store(home / STORE)


def of_store(store: Path) -> int:
    """Return the mode of folders in the home of a store."""
    with suppress(OSError):
        mode = store.stat().st_mode & 0o777
        return mode | 0o700 | (stat.S_ISGID if mode & 0o020 else 0)
    with suppress(OSError):
        if store.parent.stat().st_mode & 0o2020 == 0o2020:
            return SHARED
    return PRIVATE


def make_folder(folder: Path, mode: int) -> bool:
    """Create a folder of that mode if it does not exist, and return whether it was created."""
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        return False
    if mode & 0o077:
        # The umask may have removed bits of the mode.
        folder.chmod(mode)
    return True


def create(path: str | Path, flags: int, home_mode: int) -> int:
    """Return a descriptor of a file opened with ``flags``, its mode following ``home_mode``."""
    mode = home_mode & 0o666
    descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
    if mode & 0o077 and flags & os.O_CREAT:
        # Another member of the group owns the file: its mode was set when it was created.
        with suppress(PermissionError):
            os.fchmod(descriptor, mode)
    return descriptor


def opener(home: Path) -> Callable[[str, int], int]:
    """Return an opener for `open` that creates files with the mode of the home."""
    return lambda path, flags: create(path, flags, of_home(home))


def make_empty(path: Path, home: Path) -> None:
    """Create an empty file with the mode of the home, unless it exists.

    An existing file is not opened: closing it again would release the locks of this process's own
    connections to it.
    """
    with suppress(FileExistsError):
        os.close(create(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, of_home(home)))


def share(home: Path) -> None:
    """Give the group of a home access to the home and everything in it.

    Raises:
        OSError: something in it belongs to another user.
    """
    for folder, _, files in os.walk(home):
        os.chmod(folder, SHARED)
        for name in files:
            os.chmod(os.path.join(folder, name), SHARED & 0o666)


def readers(home: Path) -> str:
    """Return a warning if others may read a home, with the way to change it, else ""."""
    if not of_home(home) & 0o007:
        return ""
    return (
        f"Every user of this machine can read the home {home}: "
        f"`chmod -R go= {shlex.quote(str(home))}` limits it to you, `branchtrack init --shared` to "
        "your group."
    )
