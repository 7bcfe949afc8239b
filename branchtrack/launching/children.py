"""Training processes that a worker watches: whether one has ended, and how it is made to end.

It must not know the database.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass

from branchtrack import processes
from branchtrack.core.records import Launch
from branchtrack.environment_variables import LAUNCH_VARIABLE

#: Seconds that a process has to make a node and end, once it was asked to; see
#: `training.session.signals` for how long that takes at most.
GRACE = 60.0


@dataclass
class Child:
    """A training process that is watched; ``process`` is None if another worker started it."""

    launch: Launch
    pid: int
    process: subprocess.Popen[bytes] | None = None
    #: When it was asked to end, by a monotonic clock; None if it was not.
    asked_at: float | None = None
    was_killed: bool = False

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        if self.process is not None:
            return self.process.poll() is not None
        return not processes.is_alive(self.pid, f"{LAUNCH_VARIABLE}={self.launch.id}")

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs or if unknown."""
        return None if self.process is None else self.process.returncode

    def ask_to_end(self) -> None:
        """Have the process make a node and end; kill it if it has not done so after `GRACE`."""
        if self.asked_at is None:
            self.asked_at = time.monotonic()
            self._signal(signal.SIGTERM)
        elif time.monotonic() - self.asked_at > GRACE:
            self.kill()

    def kill(self) -> None:
        """End the process, and everything it started, at once."""
        # It leads a session of its own, so its pid is that of its group.
        if not self.was_killed and not self.has_ended():
            self.was_killed = True
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if not self.has_ended():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)
