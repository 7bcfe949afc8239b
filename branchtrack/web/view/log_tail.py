"""The end of a launched process's output, shown with its error.

Only files in the home's own folder of logs are ever read, whatever a row says.
"""

from __future__ import annotations

from pathlib import Path

from branchtrack.config import Config
from branchtrack.core.records import Launch

_BYTES, _LINES = 8192, 15


def tail(config: Config, launch: Launch) -> str:
    """Return the last lines of a launch's log, or an empty text if it cannot be read."""
    folder = config.logs.resolve()
    path = Path(launch.log or folder / f"{launch.id}.log").resolve()
    if not path.is_relative_to(folder):
        return ""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _BYTES))
            text = file.read(_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_LINES:])
