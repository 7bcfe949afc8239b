"""The filters of templates, and those values that need markup.

The texts themselves are `core.formats`. It knows no request and no database.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from markupsafe import Markup, escape

from branchtrack.core import formats
from branchtrack.core.launchers import jobs

#: Characters that turn the direction of the text after them, past the end of their own.
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
#: Such a character in a group, and the parts of a page where it stays: tags, and what is sent back.
_TURNS_AND_TAGS = re.compile(
    rf"<(textarea|option)\b.*?</\1>|<[^>]*>|(?P<turn>[{_TURNS}])", re.DOTALL
)
#: What a spreadsheet takes a cell that begins so for: a formula, which it carries out.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def spreadsheet(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV; a text that would be a formula gets an apostrophe before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in chain([head], rows))
    return text.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # A carriage return would begin a row: the writer quotes line feeds alone.
    text = value.replace("\r", " ")
    return f"'{text}" if value.startswith(_FORMULA) else text


def setting(value: Any) -> Markup:
    """Return a setting as text, with the exact value in the title if it is longer."""
    text, exact = formats.setting(value), formats.exact_setting(value)
    if text == exact or value == "":
        return escape(text)
    return Markup('<span title="{}">{}</span>').format(exact, text)


def ago(moment: float | None, now: float) -> Markup:
    """Return a ``<time>``: relative to ``now``, absolute in the title and for machines."""
    if moment is None:
        return Markup(formats.NOTHING)
    machine_readable = datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
    written, shown = formats.timestamp(moment), formats.ago(moment, now)
    # Not with `Markup.format`, which takes ten times as long: none of this is anybody's text.
    return Markup(f'<time datetime="{machine_readable}" title="{written}">{shown}</time>')  # noqa: S704


def code(text: str) -> Markup:
    """Return text whose `backticks` become code; everything else is escaped."""
    chunks = [
        Markup("<code>{}</code>").format(chunk) if index % 2 else escape(chunk)
        for index, chunk in enumerate(text.split("`"))
    ]
    return Markup("").join(chunks)


def unturned(html: str) -> str:
    """Return a page whose text spells the characters that would turn other text around: \\u202e."""
    if not any(turn in html for turn in _TURNS):
        return html
    return _TURNS_AND_TAGS.sub(
        lambda part: f"\\u{ord(part['turn']):04x}" if part["turn"] else part[0], html
    )


FILTERS = {
    "metric": formats.metric,
    "delta": formats.delta,
    "setting": setting,
    "setting_pair": formats.setting_pair,
    "exact": formats.exact_setting,
    "typed": formats.typed,
    "steps": formats.steps,
    "size": formats.size,
    "short": formats.short,
    "duration": formats.duration,
    "code": code,
    "word": formats.state_words,
    "job_words": jobs.words,
    "assignments": formats.assignments,
    "outcome": formats.outcome,
    "plural": formats.plural,
    "process": formats.process_words,
}
