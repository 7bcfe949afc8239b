"""Output to a terminal: JSON, tables, colours, and values as `core.formats` writes them.

It must not know what a run is, and imports no large library.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import click

from branchtrack.core import formats
from branchtrack.core.nonfinite import spelled
from branchtrack.core.schedules import is_recipe

#: Colours; no two neighbouring branches have the same.
BRANCH_COLOURS = ("blue", "yellow", "magenta", "green", "cyan", "red")
_STATE_COLOURS = {
    "running": "green",
    "paused": "yellow",
    "verified": "green",
    "done": "green",
    "finished": "green",
    "ended": "green",
    "failed": "red",
    "lost": "red",
    "rejected": "red",
    "equal": "green",
    "explained": "green",
    "differs": "red",
    "unknown": "yellow",
    "ineffective": "red",
    "expired": "red",
    "declined": "red",
    "proposed": "yellow",
    "exhausted": "yellow",
    "revoked": "red",
}
#: Characters that a terminal obeys instead of showing, except line ends: C0, DEL and C1, what turns
#: the direction of writing and hides in a text or ends its line; and what cannot be encoded for
#: output.
_CONTROLS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
#: The codes that `styled` itself puts around a text.
_OWN_STYLES = re.compile("(\x1b\\[(?:0|1|2|3[0-7])m)")


def spelled_name(text: str) -> str:
    """Return a name chosen by a user in one line: line ends spelled out, quotes if it is empty."""
    return visible(text).replace("\n", "\\n") or '""'


def visible(text: str) -> str:
    """Return ``text`` with control characters spelled (``\\x1b``): no terminal obeys those."""
    if text.isprintable():
        return text
    return _CONTROLS.sub(lambda match: _spelled(ord(match.group())), text)


def _spelled(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def echo(text: str = "", *, err: bool = False) -> None:
    """Print ``text`` with its line ends and the colours of `styled`, all other controls spelled."""
    parts = _OWN_STYLES.split(text)
    # Every second item is a match of the pattern.
    parts[::2] = [visible(plain) for plain in parts[::2]]
    # click strips colours outside of terminals.
    click.echo("".join(parts), err=err, color=False if "NO_COLOR" in os.environ else None)


def say_cut(shown: int, total: int, what: str) -> None:
    """Say on standard error how many entries a list leaves out, if any."""
    if shown < total:
        echo(f"{shown:,} of {total:,} {what}; --all lists all of them.", err=True)


def emit(value: Any) -> None:
    """Print one JSON value; NaN and the infinities are spelled as text."""
    click.echo(json.dumps(spelled(value), indent=2, allow_nan=False))


# A tree has the same few words and marks many thousands of times.
@lru_cache(maxsize=10_000)
def styled(text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
    """Return ``text`` in a colour, which `echo` strips where there should be none."""
    return click.style(visible(text), fg=colour, bold=bold or None, dim=dim or None)


def state(name: str) -> str:
    """Return a status or state as text in its colour."""
    return styled(formats.state_words(name), _STATE_COLOURS.get(name))


def state_name(name: str) -> str:
    """Return a state by its name in the record, in its colour."""
    return styled(name, _STATE_COLOURS.get(name))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> None:
    """Print columns as wide as their widest cell; those named in ``right`` are right-aligned."""
    if not rows:
        return
    flush = [header in right.split() for header in headers]
    body = [[cell.replace("\n", "↵") for cell in row] for row in rows]
    cells = [[styled(header, dim=True) for header in headers], *body]
    widths = [max(len(click.unstyle(row[i])) for row in cells) for i in range(len(headers))]
    for row in cells:
        padded = [pad(cell, widths[i], flush[i]) for i, cell in enumerate(row)]
        echo("  ".join(padded).rstrip())


def field_lines(fields: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and values, one pair a line, with the values aligned."""
    width = max((len(name) for name, _value in fields), default=0)
    return [f"{styled(name.ljust(width), dim=True)}  {value}" for name, value in fields]


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    for text in field_lines(fields):
        echo(text)


def pairs(values: dict[str, Any]) -> str:
    """Return ``lr 0.001, step 12``; nested mappings are flattened."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        is_group = isinstance(value, dict) and not is_recipe(value)
        flat.update(value if is_group else {name: value})
    return ", ".join(f"{spelled_name(name)} {setting(value)}" for name, value in flat.items())


@lru_cache(maxsize=100_000)
def width_of(text: str) -> int:
    """Return the number of characters that a text takes up, not counting its colours."""
    return len(click.unstyle(text))


def pad(text: str, width: int, right: bool = False) -> str:
    """Return ``text`` padded with blanks to ``width``, not counting its colours."""
    blanks = " " * max(0, width - width_of(text))
    return blanks + text if right else text + blanks


def setting(value: Any) -> str:
    """Return a setting for a person to read."""
    return visible(formats.setting(value))


def changes(node_changes: Sequence[dict[str, Any]]) -> str:
    """Return changes in one line: ``lr 0.03 → 3e-3``, with the step if it is not the node's."""
    return ", ".join(visible(formats.change_words(**change)) for change in node_changes)


def ago(moment: str) -> str:
    """Return how long ago an ISO 8601 time was."""
    return formats.ago(datetime.fromisoformat(moment).timestamp(), time.time())


def is_terminal() -> bool:
    """Return whether standard error is a terminal, so that a progress bar is useful."""
    return sys.stderr.isatty()
