"""Recordings as files."""

from __future__ import annotations

from pathlib import Path

from branchtrack.core.replays.recording import LARGEST, Recording, from_text
from branchtrack.errors import InvalidInput


def read(path: Path) -> Recording:
    """Return the recording in a file.

    Raises:
        InvalidInput: the file cannot be read, or is no recording; the error names its line.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InvalidInput("file", str(path), f"a file of at most {LARGEST:,} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        allowed = "a file that `branchtrack interventions` has written"
        what = f"{path} cannot be read: {why}."
        raise InvalidInput("file", str(path), allowed, what=what) from error
    try:
        return from_text(text)
    except InvalidInput as error:
        what = f"{path}: {error.what}"
        raise InvalidInput(error.field, error.value, error.allowed, what=what) from error
