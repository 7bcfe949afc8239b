"""The configuration of branchtrack: the home folder and the database URL.

It reads the environment and knows the layout of a home; it opens nothing.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from branchtrack import permissions, store_address
from branchtrack.environment_variables import DATABASE_VARIABLE, HOME_VARIABLE, REQUIRE_VARIABLE
from branchtrack.errors import HomeError

DEFAULT_HOME = ".branchtrack"
_PASSWORD = re.compile(r"(://[^/@:]*):[^/@]*@")


@dataclass(frozen=True)
class Config:
    """One home: ``branchtrack.db`` (unless a URL names another database), ``store/``, ``logs/``."""

    home: Path
    database_url: str

    @property
    def store(self) -> Path:
        """Return the folder of checkpoint packs."""
        return self.home / permissions.STORE

    @property
    def logs(self) -> Path:
        """Return the folder of the launched processes' output."""
        return self.home / "logs"

    @property
    def database_file(self) -> Path | None:
        """Return the file of an SQLite database, or None for any other database."""
        kind, _, path = self.database_url.partition(":///")
        path = path.partition("?")[0]
        is_file = kind.partition("+")[0] == "sqlite" and path and not path.startswith(":")
        return Path(path.removeprefix("file:")) if is_file else None

    def environment(self) -> dict[str, str]:
        """Return the variables that make a child process use the same home and database."""
        return {HOME_VARIABLE: str(self.home), DATABASE_VARIABLE: self.database_url}

    def make_home(self, *, shared: bool = False) -> bool:
        """Create the home's folders, and return whether the home is new.

        Only this user can read them, or also the group if the home is ``shared``; see
        `permissions`.

        Raises:
            HomeError: a folder cannot be made or written.
            InvalidInput: the environment names a bucket, and its packs are elsewhere.
        """
        is_new = not self.home.exists()
        mode = permissions.SHARED if shared else permissions.PRIVATE
        try:
            self.home.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.home, self.store):
                permissions.make_folder(folder, mode)
            permissions.make_folder(self.logs, permissions.of_home(self.home))
        except OSError as error:
            raise HomeError(str(self.home), error.strerror or str(error)) from error
        address = store_address.of_home(self.home)
        if address is not None:
            store_address.remember(self.home, address)
        if not self.home.is_dir() or not os.access(self.home, os.W_OK | os.X_OK):
            raise HomeError(str(self.home), "it is not writable")
        return is_new

    def share_home(self) -> None:
        """Give the home's group access to the home and everything in it.

        Raises:
            HomeError: a part of it belongs to another user.
        """
        try:
            permissions.share(self.home)
        except OSError as error:
            raise HomeError(str(self.home), error.strerror or str(error)) from error


def is_required() -> bool:
    """Return whether training must not continue without its record."""
    return os.environ.get(REQUIRE_VARIABLE, "").strip().lower() in ("1", "true", "yes", "on")


def load(home: str | Path | None = None, database_url: str | None = None) -> Config:
    """Return the configuration in use: arguments first, then the environment, then the defaults.

    Raises:
        HomeError: there can be no home of that path.
    """
    folder = Path(home or os.environ.get(HOME_VARIABLE) or DEFAULT_HOME).expanduser().absolute()
    _check_path(folder)
    url = database_url or os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{folder}/branchtrack.db"
    return Config(folder, _complete(url))


def _check_path(folder: Path) -> None:
    shown = os.fsencode(folder).decode(errors="replace")
    if os.fsencode(shown) != os.fsencode(folder):
        raise HomeError(shown, "its path is not UTF-8")
    try:
        os.lstat(folder / "branchtrack.db")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise HomeError(f"{shown[:200]}...", "its path is too long") from error


def without_password(database_url: str) -> str:
    """Return a URL as it may be shown and stored."""
    return _PASSWORD.sub(r"\1@", database_url)


def _complete(url: str) -> str:
    """Return a URL that means the same in every folder, and names the PostgreSQL driver."""
    path = url.removeprefix("sqlite:///")
    if path != url and path and not path.startswith(("/", ":", "file:")):
        return f"sqlite:///{Path(path).absolute()}"
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url
