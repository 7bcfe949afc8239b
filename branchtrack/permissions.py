"""Who may read what lies in a home: its user alone, unless the home is shared with a group.

The mode of the folder ``store`` is what says so, and what everything new in the home follows: a
home that others can read stays one, and nobody has to remember an option. The process's umask has
no say, and is never changed: other threads would make files under it.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o700
#: What is made in such a folder belongs to its group, too.
SHARED = 0o2770
STORE = "store"


def of_home(home: Path) -> int:
    """The mode of folders in a home."""
    return of_store(home / STORE)


def of_store(store: Path) -> int:
    """The same, by the store of the home."""
    with suppress(OSError):
        mode = store.stat().st_mode & 0o777
        return mode | 0o700 | (stat.S_ISGID if mode & 0o020 else 0)
    with suppress(OSError):
        if store.parent.stat().st_mode & 0o2020 == 0o2020:
            return SHARED
    return PRIVATE


def make_folder(folder: Path, mode: int) -> bool:
    """Make a folder of that mode, unless it is there; returns whether it had to be made."""
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        return False
    if mode & 0o077:
        # The umask may have taken from it.
        folder.chmod(mode)
    return True


def create(path: str | Path, flags: int, home_mode: int) -> int:
    """A descriptor of a file opened with ``flags``, made as folders of ``home_mode`` allow."""
    mode = home_mode & 0o666
    descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
    if mode & 0o077 and flags & os.O_CREAT:
        # Of another member of the group's file nothing needs to be changed.
        with suppress(PermissionError):
            os.fchmod(descriptor, mode)
    return descriptor


def opener(home: Path) -> Callable[[str, int], int]:
    """What `open` takes to make files as the home has them."""
    return lambda path, flags: create(path, flags, of_home(home))


def make_empty(path: Path, home: Path) -> None:
    """Make a file as the home has them, where there is none.

    One that is there is not opened: to close it again would give up the locks that this process's
    own connections hold on it.
    """
    with suppress(FileExistsError):
        os.close(create(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, of_home(home)))


def share(home: Path) -> None:
    """Open a home and all that is in it to the group it belongs to.

    Raises:
        OSError: a part of it is another user's.
    """
    for folder, _, files in os.walk(home):
        os.chmod(folder, SHARED)
        for name in files:
            os.chmod(os.path.join(folder, name), SHARED & 0o666)


def readers(home: Path) -> str:
    """That others may read a home, in a sentence with the way out; empty where they may not."""
    if not of_home(home) & 0o007:
        return ""
    return (
        f"Every user of this machine can read the home {home}: "
        f"`chmod -R go= {shlex.quote(str(home))}` keeps it to you, `branchtrack init --shared` to "
        "your group."
    )
