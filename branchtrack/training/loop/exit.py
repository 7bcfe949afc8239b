"""How the end of a script is recorded, even if it does not call finish. It knows no session."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable

UNFINISHED = "The script ended without run.finish()."


class Ending:
    """Calls ``close`` with a status and a reason when this process ends, unless it is `off`."""

    def __init__(self, close: Callable[[str, str], None]) -> None:
        self._close = close
        self._process, self._last = os.getpid(), _last_error()
        atexit.register(self._at_exit)

    def off(self) -> None:
        """Stop watching: the end was recorded."""
        atexit.unregister(self._at_exit)

    def by(self, error: BaseException) -> None:
        """Record that an exception has ended the loop."""
        if isinstance(error, KeyboardInterrupt):
            self._close("stopped", "Interrupted from the keyboard.")
        elif isinstance(error, SystemExit):
            self._close("stopped", UNFINISHED)
        else:
            self._close("failed", f"{type(error).__name__}: {error}")

    def _at_exit(self) -> None:
        # A forked process has no part in the run.
        if os.getpid() == self._process:
            error = _last_error()
            self.by(SystemExit() if error is None or error is self._last else error)


def _last_error() -> BaseException | None:
    """Return the exception that has ended a script, as the interpreter leaves it."""
    return getattr(sys, "last_value", None)
