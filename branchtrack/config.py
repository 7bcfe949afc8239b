"""Where branchtrack keeps its things: the home folder and the database URL.

It reads the environment and knows the layout of a home; it opens nothing.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from branchtrack import permissions
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
        """The folder of checkpoint packs."""
        return self.home / permissions.STORE

    @property
    def logs(self) -> Path:
        """The folder of launched processes' output."""
        return self.home / "logs"

    @property
    def database_file(self) -> Path | None:
        """The file of an SQLite database; None of any other."""
        kind, _, path = self.database_url.partition(":///")
        path = path.partition("?")[0]
        is_file = kind.partition("+")[0] == "sqlite" and path and not path.startswith(":")
        return Path(path.removeprefix("file:")) if is_file else None

    def environment(self) -> dict[str, str]:
        """The variables that make a child process use this same home and database."""
        return {HOME_VARIABLE: str(self.home), DATABASE_VARIABLE: self.database_url}

    def make_home(self, *, shared: bool = False) -> bool:
        """Create the home's folders; returns whether there was no home.

        They are for this user alone, or for the ``shared`` home's group; see `permissions`.

        Raises:
            HomeError: a folder cannot be made or written.
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
        if not self.home.is_dir() or not os.access(self.home, os.W_OK | os.X_OK):
            raise HomeError(str(self.home), "it is not writable")
        return is_new

    def share_home(self) -> None:
        """Open the home and all that is in it to its group.

        Raises:
            HomeError: a part of it belongs to another user.
        """
        try:
            permissions.share(self.home)
        except OSError as error:
            raise HomeError(str(self.home), error.strerror or str(error)) from error


def is_required() -> bool:
    """Whether training is not to go on without its record."""
    return os.environ.get(REQUIRE_VARIABLE, "").strip().lower() in ("1", "true", "yes", "on")


def load(home: str | Path | None = None, database_url: str | None = None) -> Config:
    """The configuration in force: arguments first, then the environment, then the defaults.

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
    """A URL as it may be shown and kept."""
    return _PASSWORD.sub(r"\1@", database_url)


def _complete(url: str) -> str:
    """A URL that means the same from every folder, and names the PostgreSQL driver there is."""
    path = url.removeprefix("sqlite:///")
    if path != url and path and not path.startswith(("/", ":", "file:")):
        return f"sqlite:///{Path(path).absolute()}"
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url
