"""A recording as text: JSON Lines, a header and then one change a line.

It may be edited by hand, so that every error names its line. It knows no run and no file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from branchtrack.core.nonfinite import spelled
from branchtrack.core.replays.changes import RecordedChange, change_of
from branchtrack.errors import InvalidInput

FORMAT, VERSION = "branchtrack-interventions", 1
#: Bytes of a file that is read.
LARGEST = 16 * 2**20


@dataclass(frozen=True)
class Header:
    """Where a recording was made: ``run``, ``branch``, the ``node`` it begins at and its ``step``.

    ``steps`` is the planned length of the training, ``settings`` are those at the beginning.
    """

    run: str = ""
    branch: str = ""
    node: str = ""
    step: int = 0
    steps: int | None = None
    settings: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: the first line of a recording."""
        return {"format": FORMAT, "version": VERSION, **vars(self)}


@dataclass(frozen=True)
class Recording:
    """A header and changes in order; ``digest`` is that of the text that it was read from."""

    header: Header
    changes: tuple[RecordedChange, ...]
    digest: str = ""

    @property
    def requested(self) -> list[RecordedChange]:
        """The changes that a replay makes: those of the script are made by the script again."""
        return [change for change in self.changes if change.by != "script"]


def to_text(recording: Recording) -> str:
    """Return the lines of a recording."""
    rows = [recording.header.as_dict(), *(change.as_dict() for change in recording.changes)]
    # JSON has no NaN: what is not finite is written as text.
    lines = (json.dumps(spelled(row), ensure_ascii=False, allow_nan=False) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def from_text(text: str) -> Recording:
    """Return the recording of a text; empty lines mean nothing.

    Raises:
        InvalidInput: it is no recording of this version, or a line is not valid; it names the line.
    """
    if len(text) > LARGEST:
        raise InvalidInput("file", f"{len(text):,} characters", f"at most {LARGEST:,}")
    header: Header | None = None
    changes = []
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = _parsed(content)
            if header is None:
                header = _header(row)
            else:
                changes.append(change_of(row, line))
        except InvalidInput as error:
            raise at_line(line, error) from error
    if header is None:
        raise InvalidInput("file", "nothing", f'a first line with "format": "{FORMAT}"')
    return Recording(header, tuple(changes), hashlib.sha256(text.encode()).hexdigest())


def at_line(line: int, error: InvalidInput) -> InvalidInput:
    """Return an error with the line that it is about."""
    what = f"Line {line}: {error.what}"
    return InvalidInput(f"line {line}: {error.field}", error.value, error.allowed, what=what)


def lines_of(changes: Iterable[RecordedChange]) -> str:
    """Return the lines of changes in words."""
    lines = [str(change.line) for change in changes]
    return f"line{'s' * (len(lines) > 1)} {', '.join(lines)}"


def _parsed(content: str) -> dict[str, Any]:
    try:
        row = json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError):
            why = f"{error.msg} at character {error.pos + 1}"
        else:
            why = str(error)
        shown = content[:80] + "…" * (len(content) > 80)
        raise InvalidInput(
            "JSON", shown, "one JSON object", what=f"It is not JSON: {why}."
        ) from error
    if not isinstance(row, dict):
        raise InvalidInput("JSON", row, "one JSON object")
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a name is there twice")
    return row


def _header(row: dict[str, Any]) -> Header:
    if row.get("format") != FORMAT:
        raise InvalidInput("format", row.get("format"), f"{FORMAT}, on the first line")
    if row.get("version") != VERSION or isinstance(row.get("version"), bool):
        raise InvalidInput("version", row.get("version"), str(VERSION))
    kinds: dict[str, tuple[type, ...]] = {
        "run": (str,),
        "branch": (str,),
        "node": (str,),
        "step": (int,),
        "steps": (int,),
        "settings": (dict,),
    }
    known = {name: row[name] for name in kinds if row.get(name) is not None}
    for name, value in known.items():
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise InvalidInput(name, value, f"a {kinds[name][0].__name__}")
    return Header(**known)
