"""The end of a launched process's output, shown while it trains and with its error.

Only files in the home's own folder of logs are ever read, whatever a row says.
"""

from __future__ import annotations

from pathlib import Path

from branchtrack.config import Config
from branchtrack.core.records import Launch

_LINES = 15
#: Lines that are read at most.
MOST_LINES = 400
_BYTES_OF_LINE = 512


def tail(config: Config, launch: Launch, lines: int = _LINES) -> str:
    """Return the last lines of a launch's log, or an empty text if it cannot be read.

    A log that another machine wrote into the home is found by the launch's id.
    """
    folder = config.logs.resolve()
    own = folder / f"{launch.id}.log"
    candidates = [path.resolve() for path in (Path(launch.log or own), own)]
    path = next((path for path in candidates if path.is_relative_to(folder)), None)
    if path is None:
        return ""
    lines = min(lines, MOST_LINES)
    nbytes = lines * _BYTES_OF_LINE
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - nbytes))
            text = file.read(nbytes).decode("utf-8", "replace")
    except OSError:
        return ""
    # A progress bar rewrites its line: only what it showed last is kept.
    shown = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(shown[-lines:] if shown[-1] else shown[-lines - 1 : -1])
