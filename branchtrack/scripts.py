"""The script of a recorded command: its file, and whether that has changed.

It knows how Python is called, and neither runs nor nodes.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from branchtrack import redaction
from branchtrack.errors import InvalidInput

#: Options of Python that take the next word of the command line as their value.
_WITH_WORD = ("-X", "-W", "--check-hash-based-pycs")
_INSTALLED = f"{os.sep}site-packages{os.sep}"


def digest(path: str | Path | None) -> str | None:
    """Return the first 12 hexadecimal digits of a file's SHA-256; None if it cannot be read."""
    if path is None:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
    except OSError:
        return None


def script_of(entry_point: Mapping[str, Any] | None) -> Path | None:
    """Return the file that a recorded command runs, or None if it is not on this machine."""
    command = entry_point or {}
    words = iter(list(command.get("argv") or ())[1:])
    folder = Path(str(command.get("cwd") or "."))
    for word in words:
        if word == "-m":
            places = str((command.get("env") or {}).get("PYTHONPATH") or "").split(":")
            return _module(next(words, ""), [folder, *(folder / p for p in places if p)])
        if word in _WITH_WORD:
            next(words, "")
        elif word == "-c":
            return None
        elif not word.startswith("-"):
            path = folder / word
            return path if path.is_file() else None
    return None


def has_changed(entry_point: Mapping[str, Any] | None, environment: Mapping[str, Any]) -> bool:
    """Return whether the script differs from the one whose digest a node's environment holds."""
    then = environment.get("script")
    now = digest(script_of(entry_point)) if then else None
    return now is not None and now != then


def relation(folder: str | Path, home: Path) -> str:
    """Return the path from a home to a folder, which stays the same if both are moved together."""
    return os.path.relpath(folder, home)


def relocated(entry_point: Mapping[str, Any] | None, home: Path) -> dict[str, Any] | None:
    """Return the command as it can be started now, with its folder found relative to its home.

    If the recorded folder is gone and there is one at the same place relative to the home, the
    project was moved, and the paths within it are changed to match. Else the command is returned as
    it was recorded.
    """
    recorded = None if entry_point is None else dict(entry_point)
    if not recorded or not recorded.get("argv") or not recorded.get("from_home"):
        return recorded
    before = str(recorded.get("cwd") or ".")
    after = os.path.normpath(home / str(recorded["from_home"]))
    if Path(before).is_dir() or not Path(after).is_dir():
        return recorded
    moved = {**recorded, "cwd": after, "env": dict(recorded.get("env") or {})}
    moved["argv"] = [_taken_along(str(word), before, after) for word in recorded["argv"]]
    for name, value in moved["env"].items():
        paths = [_taken_along(path, before, after) for path in str(value).split(os.pathsep)]
        moved["env"][name] = os.pathsep.join(paths)
    script = script_of(moved)
    # Some folder is at that place in any case; it is the right one if the script is in it.
    return moved if script is not None and script.is_relative_to(after) else recorded


def describe(entry_point: Mapping[str, Any]) -> str:
    """Return a command and its folder as text for people, without secrets."""
    argv = redaction.redacted(entry_point["argv"])
    return f"`{shlex.join(argv)}` in {entry_point.get('cwd') or '.'}"


def replaced(
    entry_point: Mapping[str, Any] | None, script: str | None, folder: str | None
) -> dict[str, Any]:
    """Return the command with another script file, or another folder to start it in.

    Raises:
        InvalidInput: the file or folder does not exist, or there is no command whose script it
        could replace.
    """
    command = {**(entry_point or {}), "env": dict((entry_point or {}).get("env") or {})}
    if folder is not None:
        if not folder or not Path(folder).is_dir():
            raise InvalidInput("cwd", folder, "an existing folder")
        command["cwd"] = str(Path(folder).absolute())
    if script is None:
        return command
    file = Path(script).absolute()
    if not file.is_file():
        raise InvalidInput("script", script, "an existing file")
    argv = [str(word) for word in command.get("argv") or [sys.executable, str(file)]]
    position = _place_of_script(argv)
    # A module may be named by its folders; the file that replaces it is named by its path.
    command["argv"] = [*argv[: position.start], str(file), *argv[position.stop :]]
    if not command.get("cwd") or not Path(str(command["cwd"])).is_dir():
        command["cwd"] = str(file.parent)
    return command


def _place_of_script(argv: list[str]) -> slice:
    """Return where a command line names its script: a file, ``-m`` and a module, or ``-c``."""
    words = iter(enumerate(argv[1:], 1))
    for number, word in words:
        if word in _WITH_WORD:
            next(words, None)
        elif word in ("-m", "-c"):
            return slice(number, min(number + 2, len(argv)))
        elif not word.startswith("-"):
            return slice(number, number + 1)
    return slice(len(argv), len(argv))


def _taken_along(path: str, before: str, after: str) -> str:
    return (
        after + path[len(before) :] if path == before or path.startswith(before + os.sep) else path
    )


def _module(name: str, folders: list[Path]) -> Path | None:
    inside = Path(*name.split("."))
    places = [folder / inside for folder in folders]
    files = [file for at in places for file in (at / "__main__.py", at.with_suffix(".py"))]
    return next((file for file in files if file.is_file()), None)


def folder_of(path: str | Path | None) -> Path | None:
    """Return the folder of a script's own modules."""
    return None if path is None else Path(path).resolve().parent


def digests_below(folder: Path, files: Iterable[str | None]) -> dict[str, str]:
    """Return the digest of each of ``files`` below a folder, by its path relative to the folder.

    Installed packages (``site-packages``) are left out: they are recorded by their versions.
    """
    digests = {}
    # There may be thousands of files, so paths are compared as text, and the links of each folder
    # are resolved once.
    real_folder, prefix = cache(os.path.realpath), os.path.join(folder, "")
    for file in files:
        if not file or not file.endswith(".py") or _INSTALLED in file:
            continue
        path = os.path.join(real_folder(os.path.dirname(file)), os.path.basename(file))
        resolved = os.path.realpath(path) if os.path.islink(path) else path
        file_digest = digest(resolved) if resolved.startswith(prefix) else None
        if file_digest is not None:
            digests[resolved.removeprefix(prefix)] = file_digest
    return digests


def changed_modules(
    entry_point: Mapping[str, Any] | None, before: Mapping[str, str] | None
) -> list[str]:
    """Return the modules of a script that have changed or are gone, without the script itself."""
    script = script_of(entry_point)
    if script is None or not before:
        return []
    resolved, folder = script.resolve(), script.resolve().parent
    return [
        relative
        for relative, then in sorted(before.items())
        if folder / relative != resolved and digest(folder / relative) != then
    ]
