"""The file of the script behind a recorded command, and what tells whether it has changed.

It knows how python is called, and neither runs nor nodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: Options of python's with a word of their own behind them.
_WITH_WORD = ("-X", "-W", "--check-hash-based-pycs")


def digest(path: str | Path | None) -> str | None:
    """The first 12 hexadecimal digits of a file's SHA-256; None where it cannot be read."""
    if path is None:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
    except OSError:
        return None


def script_of(entry_point: Mapping[str, Any] | None) -> Path | None:
    """The file that a recorded command runs, or None where it is not to be found here."""
    given = entry_point or {}
    words = iter(list(given.get("argv") or ())[1:])
    folder = Path(str(given.get("cwd") or "."))
    for word in words:
        if word == "-m":
            places = str((given.get("env") or {}).get("PYTHONPATH") or "").split(":")
            return _module(next(words, ""), [folder, *(folder / p for p in places if p)])
        if word in _WITH_WORD:
            next(words, "")
        elif word == "-c":
            return None
        elif not word.startswith("-"):
            found = folder / word
            return found if found.is_file() else None
    return None


def has_changed(entry_point: Mapping[str, Any] | None, environment: Mapping[str, Any]) -> bool:
    """Whether the script is another than that whose digest a node's environment has."""
    then = environment.get("script")
    now = digest(script_of(entry_point)) if then else None
    return now is not None and now != then


def _module(name: str, folders: list[Path]) -> Path | None:
    inside = Path(*name.split("."))
    places = [folder / inside for folder in folders]
    files = [file for at in places for file in (at / "__main__.py", at.with_suffix(".py"))]
    return next((file for file in files if file.is_file()), None)


def folder_of(path: str | Path | None) -> Path | None:
    """The folder that a script's own modules lie in."""
    return None if path is None else Path(path).resolve().parent


def digests_below(folder: Path, files: Iterable[str | None]) -> dict[str, str]:
    """The digest of each of ``files`` that lies below a folder, by its place there.

    What is installed below it (``site-packages``) is told by its version instead.
    """
    digests = {}
    for file in files:
        path = Path(file or "")
        if not file or path.suffix != ".py" or "site-packages" in path.parts:
            continue
        place = path.resolve()
        own = digest(place) if place.is_relative_to(folder) else None
        if own is not None:
            digests[str(place.relative_to(folder))] = own
    return digests


def changed_modules(
    entry_point: Mapping[str, Any] | None, before: Mapping[str, str] | None
) -> list[str]:
    """Those of a script's own modules that are others by now, or gone; the script itself aside."""
    script = script_of(entry_point)
    if script is None or not before:
        return []
    own, folder = script.resolve(), script.resolve().parent
    return [
        place
        for place, then in sorted(before.items())
        if folder / place != own and digest(folder / place) != then
    ]
