"""A recording as text: written and read back, and refused with the line that is wrong."""

from __future__ import annotations

import json

import pytest

from branchtrack.core.replays.recording import FORMAT, Header, Recording, from_text, to_text
from branchtrack.errors import InvalidInput

HEAD = json.dumps({"format": FORMAT, "version": 1})
LINE = '{"at": {"step": 3}, "kind": "set", "values": {"lr": 0.01}}'


def test_a_recording_is_read_back_as_it_was_written() -> None:
    header = Header("demo", "main", "ab" * 8, 0, 100, {"lr": 0.1})
    changes = from_text(f"{HEAD}\n{LINE}\n").changes
    text = to_text(Recording(header, changes))
    again = from_text(text)
    assert (again.header, again.changes) == (header, changes)
    assert again.digest and again.digest != from_text(f"{HEAD}\n{LINE}").digest


def test_lines_may_be_empty_or_end_as_on_windows() -> None:
    recording = from_text(f"\n{HEAD}\r\n\r\n{LINE}\r\n")
    assert [change.line for change in recording.changes] == [4]


def test_changes_of_the_script_are_not_requested() -> None:
    own = LINE.replace("}}", '}, "by": "script"}')
    assert [change.line for change in from_text(f"{HEAD}\n{own}\n{LINE}").requested] == [3]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "file"),
        (LINE, "line 1: format"),
        (HEAD.replace("1", "2"), "line 1: version"),
        (HEAD.replace("1", "true"), "line 1: version"),
        (f'{HEAD[:-1]}, "steps": "many"}}', "line 1: steps"),
        (f"{HEAD}\n{{", "line 2: JSON"),
        (f"{HEAD}\n[]", "line 2: JSON"),
        (f"{HEAD}\n{LINE}\n{LINE.replace('0.01', 'NaN')}", "line 3: JSON"),
        (f"{HEAD}\n{LINE.replace('3', '-Infinity')}", "line 2: JSON"),
        (f'{HEAD}\n{{"kind": "set", {LINE[1:]}', "line 2: JSON"),
        (f"{HEAD}\n{'[' * 100_000}", "line 2: JSON"),
        (f"{HEAD}\n{LINE.replace('set', 'sets')}", "line 2: kind"),
        (f"{HEAD}\n\n{LINE.replace('values', 'value')}", "line 3: values"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_text(text)
    assert caught.value.field == field
