"""The homes that their user trusts: a recorded command of any other home is never started.

A home may come from anywhere, in an archive or a clone, and its queue may hold any command. A
trusted home has a mark: a file of the user's, outside of every home. It names the home and its
database, and holds what distinguishes them from others put in their place: the id of the home, a
number in the header of the database, both inodes and both owners.

It reads nothing else of a database, and asks the user nothing.
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

#: The file in a home that holds its id.
ID_FILE = "id"

#: SQLite's header field for a number that the application chooses.
_NUMBER = "user_version"
#: Seconds to wait for another process that is writing.
_PATIENCE = 30.0

Identity = dict[str, Any]
#: Homes that this process trusts because no mark could be written.
_TRUSTED_HERE: list[Identity] = []


def is_trusted(config: Config) -> bool:
    """Return whether this user trusts the home, and it is still the one that was trusted."""
    identity = _identity(config)
    if identity in _TRUSTED_HERE:
        return True
    return any(identity == {**mark, "path": None} for mark in _marks())


def check(config: Config) -> None:
    """Refuse to start anything from a home that its user does not trust.

    Raises:
        UntrustedHome: it is not trusted.
    """
    if not is_trusted(config):
        path = str(config.home.resolve())
        replaced = any(mark.get("path") == path for mark in _marks())
        raise UntrustedHome(str(config.home), replaced=replaced)


def mark(config: Config) -> Path | None:
    """Trust the home, and return the file that records it.

    Return None if this user cannot write such a file: then only this process trusts the home.
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
    """Stop trusting the home; return whether it was trusted."""
    was_trusted, identity = is_trusted(config), _identity(config)
    _TRUSTED_HERE[:] = [other for other in _TRUSTED_HERE if other != identity]
    for folder in _folders():
        with suppress(FileNotFoundError, NotADirectoryError):
            (folder / _name(identity)).unlink()
    return was_trusted


def owners(config: Config) -> set[int]:
    """Return the ids of the users that own the home and its database."""
    paths = [config.home, config.database_file]
    return {path.stat().st_uid for path in paths if path is not None and path.exists()}


def _identity(config: Config) -> Identity:
    """Return everything that must still be as it was when the home was trusted.

    The device is left out: on many file systems its number changes when the machine restarts.
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
    """Return the database's name, which stays the same if it is moved with its home."""
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
    """Give the home an id; of several processes one wins, and the file is never half written."""
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
    """Return the number that distinguishes a database from another one copied into its file."""
    if file is None or not file.is_file():
        return None
    # Never read it as a plain file: closing it would release this process's locks on it.
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
    """Return the name of a home's mark: one for each database that it is used with."""
    words = [identity["id"], identity["database"], identity["folder"]]
    return f"{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]}.json"


def _marks() -> Iterator[Identity]:
    for folder in _folders():
        with suppress(OSError):
            for path in folder.glob("*.json"):
                with suppress(OSError, ValueError):
                    yield json.loads(path.read_text(encoding="utf-8"))


def _folders() -> Iterator[Path]:
    """Yield the folders for marks: the user's configuration, else one that only the user can write.

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
