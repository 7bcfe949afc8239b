"""Which homes their user has trusted: from no other one is a recorded command ever started.

A home may come from anywhere, in an archive or a clone, and its queue may hold any command. A mark
is a file of the user's own, outside of every home. It names the home and its database, and what
tells them from others that are put in their place: the home's own id, a number in the database's
own head, both inodes, both owners.

It reads nothing else of a database, and asks nobody.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from branchtrack import permissions
from branchtrack.config import Config, without_password
from branchtrack.errors import UntrustedHome

#: The file in a home that has its id.
ID_FILE = "id"

#: SQLite's own field for a number of the application's.
_NUMBER = "user_version"
#: Seconds to wait for whoever writes at the moment.
_PATIENCE = 30.0

Identity = dict[str, Any]
#: Homes that this process trusts where no mark of it can be kept.
_TRUSTED_HERE: list[Identity] = []


def is_trusted(config: Config) -> bool:
    """Whether this user has trusted the home, and it is still the one that was trusted."""
    identity = _identity(config)
    if identity in _TRUSTED_HERE:
        return True
    return any(identity == {**mark, "path": None} for mark in _marks())


def check(config: Config) -> None:
    """Refuse to start anything from a home that its user has not trusted.

    Raises:
        UntrustedHome: it is not trusted.
    """
    if not is_trusted(config):
        path = str(config.home.resolve())
        replaced = any(mark.get("path") == path for mark in _marks())
        raise UntrustedHome(str(config.home), replaced=replaced)


def mark(config: Config) -> Path | None:
    """Trust the home; returns the file that says so.

    None where no file of this user's can be written: then this process alone trusts it.
    """
    with suppress(OSError):
        _make_id(config.home)
    with suppress(sqlite3.Error):
        _make_number(config.database_file)
    identity = _identity(config)
    for folder in _folders():
        with suppress(OSError):
            path = str(config.home.resolve())
            return _write(folder, _name(identity), {**identity, "path": path})
    _TRUSTED_HERE.append(identity)
    return None


def forget(config: Config) -> bool:
    """Trust the home no more; false where it was not trusted."""
    was_trusted, identity = is_trusted(config), _identity(config)
    _TRUSTED_HERE[:] = [other for other in _TRUSTED_HERE if other != identity]
    for folder in _folders():
        with suppress(FileNotFoundError, NotADirectoryError):
            (folder / _name(identity)).unlink()
    return was_trusted


def owners(config: Config) -> set[int]:
    """The user ids that the home and its database belong to."""
    paths = [config.home, config.database_file]
    return {path.stat().st_uid for path in paths if path is not None and path.exists()}


def _identity(config: Config) -> Identity:
    """What has to be as it was when the home was trusted.

    No device is named: the numbers of many file systems change as a machine starts.
    """
    return {
        "path": None,
        "database": _database(config),
        "id": _read_id(config.home),
        "folder": _inode_and_owner(config.home),
        "file": _inode_and_owner(config.database_file),
        "number": _read_number(config.database_file),
    }


def _database(config: Config) -> str:
    """The database, the same for one that is moved together with its home."""
    file, home = config.database_file, config.home.resolve()
    if file is None:
        return without_password(config.database_url)
    path = file.resolve()
    return str(path.relative_to(home) if path.is_relative_to(home) else path)


def _inode_and_owner(path: Path | None) -> list[int] | None:
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return None if status is None else [status.st_ino, status.st_uid]


def _read_id(home: Path) -> str:
    try:
        return (home / ID_FILE).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _make_id(home: Path) -> None:
    """Give the home an id; whoever is faster, there is one, and never half of it."""
    path = home / ID_FILE
    if path.exists():
        return
    draft = home / f"{ID_FILE}.{uuid.uuid4().hex}"
    with open(draft, "x", opener=permissions.opener(home)) as file:
        file.write(f"{uuid.uuid4().hex}\n")
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _read_number(file: Path | None) -> int | None:
    """What tells a database from another one whose bytes are copied into its file."""
    if file is None or not file.is_file():
        return None
    # Never read as a file: to close it would give up the locks that this process has on it.
    with suppress(sqlite3.Error), closing(_connect(file, "ro")) as connection:
        return int(connection.execute(f"PRAGMA {_NUMBER}").fetchone()[0])
    return None


def _make_number(file: Path | None) -> None:
    if file is None or not file.is_file():
        return
    with closing(_connect(file, "rw")) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute(f"PRAGMA {_NUMBER}").fetchone()[0] == 0:
            connection.execute(f"PRAGMA {_NUMBER} = {1 + secrets.randbelow(2**31 - 1)}")


def _connect(file: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(file.absolute()))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None)


def _name(identity: Identity) -> str:
    """The name of a home's mark: one for each database that it is used with."""
    words = [identity["id"], identity["database"], identity["folder"]]
    return f"{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]}.json"


def _marks() -> Iterator[Identity]:
    for folder in _folders():
        with suppress(OSError):
            for path in folder.glob("*.json"):
                with suppress(OSError, ValueError):
                    yield json.loads(path.read_text(encoding="utf-8"))


def _folders() -> Iterator[Path]:
    """Where marks may be: this user's configuration, else a folder that nobody else can write.

    A container may have no home directory, or one that cannot be written.
    """
    configured = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    if os.path.isabs(configured):
        yield Path(configured) / "branchtrack" / "trusted"
    temporary = Path(tempfile.gettempdir()) / f"branchtrack-{os.geteuid()}"
    with suppress(OSError):
        temporary.mkdir(mode=0o700, exist_ok=True)
        status = temporary.lstat()
        is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        if is_own and not status.st_mode & 0o022:
            yield temporary / "trusted"


def _write(folder: Path, name: str, identity: Identity) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    draft, path = tempfile.mkstemp(dir=folder), folder / name
    try:
        with open(draft[0], "w", encoding="utf-8") as file:
            json.dump(identity, file)
        os.replace(draft[1], path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft[1])
        raise
    return path
