"""Where a home keeps its packs: in its own folder, or in a bucket, which it then remembers.

A bucket is named by the environment and written down in the home with the first use. From then on
every process of the home agrees: one without the variable uses the bucket all the same, and one
that names another place is refused. It must not know how packs are written.
"""

from __future__ import annotations

import os
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from branchtrack import permissions, redaction
from branchtrack.environment_variables import (
    STORE_CACHE_VARIABLE,
    STORE_SPOOL_VARIABLE,
    STORE_VARIABLE,
)
from branchtrack.errors import HomeError, InvalidInput

#: The file of a home that holds the address of its bucket.
FILE = "store.url"
#: Bytes, if the environment names no other numbers.
CACHE_BYTES = SPOOL_BYTES = 10_000_000_000

_SCHEME = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/=+@,-]*")
_UNITS = {"": 1, "B": 1, **{u: 1000**n for n, u in enumerate(("KB", "MB", "GB", "TB"), 1)}}
_UNITS |= {u: 1024**n for n, u in enumerate(("KIB", "MIB", "GIB", "TIB"), 1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


@dataclass(frozen=True)
class Address:
    """A bucket, and the beginning of the names of all that a home has in it, without slashes."""

    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return _SCHEME + "/".join(filter(None, (self.bucket, self.prefix)))


def parse(text: str) -> Address:
    """Return the address in ``s3://bucket/prefix``.

    Raises:
        InvalidInput: it is none.
    """
    bucket, _, prefix = text.strip().removeprefix(_SCHEME).partition("/")
    prefix = prefix.strip("/")
    is_path = all(part not in ("", ".", "..") for part in prefix.split("/")) if prefix else True
    if (
        not text.strip().startswith(_SCHEME)
        or not _BUCKET.fullmatch(bucket)
        or not (_PREFIX.fullmatch(prefix) and is_path)
    ):
        shown = redaction.redacted([text])[0]
        raise InvalidInput(STORE_VARIABLE, shown, "s3://bucket or s3://bucket/prefix")
    return Address(bucket, prefix)


def of_home(home: Path) -> Address | None:
    """Return the bucket of a home, or None if its packs are in its own folder.

    Raises:
        InvalidInput: the environment names another place than the home's packs are in.
        HomeError: what the home remembers cannot be read.
    """
    recorded, text = _recorded(home), os.environ.get(STORE_VARIABLE, "").strip()
    if not text:
        return recorded
    wanted = parse(text)
    if recorded is None and _has_packs(home):
        raise _elsewhere(home, wanted, str(home / permissions.STORE))
    if recorded is not None and recorded != wanted:
        raise _elsewhere(home, wanted, str(recorded))
    return wanted


def remember(home: Path, address: Address) -> None:
    """Write down the bucket of a home, unless it is written down already.

    Raises:
        HomeError: the home cannot be written.
        InvalidInput: another process has just written down another one.
    """
    path = home / FILE
    if not path.exists():
        temporary = home / f".{FILE}.{uuid.uuid4().hex}"
        try:
            home.mkdir(mode=permissions.of_home(home), parents=True, exist_ok=True)
            file = permissions.create(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions.of_home(home)
            )
            try:
                os.write(file, f"{address}\n".encode())
                os.fsync(file)
            finally:
                os.close(file)
            # Of several processes that do this at once the first one decides.
            with suppress(FileExistsError):
                os.link(temporary, path)
        except OSError as error:
            raise HomeError(str(home), error.strerror or str(error)) from error
        finally:
            temporary.unlink(missing_ok=True)
    recorded = _recorded(home)
    if recorded is not None and recorded != address:
        raise _elsewhere(home, address, str(recorded))


def cache_bytes() -> int:
    """Return the bytes that copies of packs may take on this machine.

    Raises:
        InvalidInput: the environment does not name a size.
    """
    return _size(STORE_CACHE_VARIABLE, CACHE_BYTES)


def spool_bytes() -> int:
    """Return the bytes that packs which wait for the bucket may take on this machine.

    Raises:
        InvalidInput: the environment does not name a size.
    """
    return _size(STORE_SPOOL_VARIABLE, SPOOL_BYTES)


def _size(variable: str, usual: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return usual
    parts = _SIZE.fullmatch(text)
    unit = None if parts is None else _UNITS.get(parts.group(2).upper())
    if parts is None or unit is None:
        raise InvalidInput(variable, text, 'a size: bytes, or for example "500MB" or "20GB"')
    return int(float(parts.group(1)) * unit)


def _recorded(home: Path) -> Address | None:
    path = home / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise HomeError(str(home), f"{path.name} cannot be read: {error}") from error
    try:
        return parse(text)
    except InvalidInput as error:
        why = f"{path.name}, which names the bucket of its packs, is damaged"
        raise HomeError(str(home), why) from error


def _has_packs(home: Path) -> bool:
    try:
        with os.scandir(home / permissions.STORE / "packs") as entries:
            return any(entries)
    except OSError:
        return False


def _elsewhere(home: Path, wanted: Address, current: str) -> InvalidInput:
    return InvalidInput(
        STORE_VARIABLE,
        str(wanted),
        f"the place where this home has its packs, {current}; another home (BRANCHTRACK_HOME); or "
        "this home after its packs were moved, see `Moving a home` in docs/storage.md",
        what=f"The home {home} has its packs in {current}, but {STORE_VARIABLE} names {wanted}.",
    )
