"""SIGTERM, SIGINT and SIGUSR1 during training: a node first, then what the signal means.

The first signal is noted and the loop is called to its next control point. Once the node is safe
and the session closed, `Signals.deliver` ends as the signal would have: a handler that the script
had installed runs and decides; otherwise Ctrl-C raises KeyboardInterrupt, the others SystemExit
with 128 + their number. A second signal, or a loop that reaches no control point in time, ends at
once.

A handler runs between any two bytecodes of the main thread, whatever locks that holds, so it only
notes the signal; a thread of its own does the rest. It knows no session, only what to wake.
"""

from __future__ import annotations

import inspect
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import torch

logger = logging.getLogger("branchtrack")

#: Seconds that a loop has to reach a control point.
LIMIT_SECONDS = 30.0
#: Seconds after which an evaluation that leaves training unchanged is cut short.
EVALUATION_SECONDS = 20.0
#: Seconds after that in which the interpreter has to reach its handlers: it may hang in C.
GRACE_SECONDS = 10.0
#: Seconds in which another SIGTERM is the same one: a scheduler sends it to all processes of a job,
#: of which a worker sends it on to its trainings.
SAME_SECONDS = 2.0
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_LOOK_SECONDS = 0.05
_OVER = b"\0"
_OF_LOADERS = "torch.utils.data._utils.signal_handling"


class Signals:
    """The signals of one training: noted between `on` and `off`, only in the main thread.

    ``is_evaluating`` is true during an evaluation that leaves training unchanged.

    ``note`` is called between any two bytecodes: it makes the loop reach a control point, without
    any lock, and returns the step. In another thread ``wake`` makes sure that it does, and
    ``abandon`` records the end if the main thread hangs.
    """

    def __init__(
        self, note: Callable[[], int], wake: Callable[[], None], abandon: Callable[[], None]
    ) -> None:
        self.received: signal.Signals | None = None
        self.has_raised = self.is_evaluating = False
        self._note, self._wake, self._abandon = note, wake, abandon
        self._before: dict[signal.Signals, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._watcher: threading.Thread | None = None
        self._process, self._at, self._why = os.getpid(), 0, ""
        self._came_at = 0.0
        self._is_answered = self._is_late = False

    @property
    def has_cut_short(self) -> bool:
        """Whether an evaluation has just been ended because it took too long."""
        return self.is_evaluating and self._is_late and self.has_raised

    @property
    def words(self) -> str:
        """Why training ends: ``SIGTERM at step 40``, and what was lost if no node was created."""
        if self.received is None:
            return ""
        return f"{self.received.name} at step {self._at}" + (f": {self._why}" if self._why else "")

    def on(self) -> None:
        """Note signals from here on; those that the process ignores stay ignored."""
        if threading.current_thread() is not threading.main_thread() or self._is_answered:
            return
        if self._pipe is None:
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            self._watcher = threading.Thread(
                target=self._watch, args=self._pipe, name="branchtrack signals", daemon=True
            )
            self._watcher.start()
        for number in HANDLED:
            before = signal.getsignal(number)
            # None is a handler that was not installed from Python: it cannot be restored.
            if before not in (None, signal.SIG_IGN, self._handle):
                self._before[number] = before
                signal.signal(number, self._handle)

    def off(self) -> None:
        """Restore the earlier handlers, unless another handler was installed since."""
        self.answer()
        if self._pipe is None or threading.current_thread() is not threading.main_thread():
            return
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle or number == signal.SIGCHLD:
                signal.signal(number, before)
        pipe, self._pipe = self._pipe, None
        with suppress(OSError):
            os.write(pipe[1], _OVER)
        os.close(pipe[1])
        if self._watcher is not None:
            self._watcher.join(1.0)

    def answer(self) -> None:
        """Note that the loop reached a control point, or its end: the rest may take its time."""
        self._is_answered = True

    def ending(self, status: str, error: str | None) -> tuple[str, str | None]:
        """Return the status and the reason of a segment, given those without a signal."""
        if self.received is None or status == "finished":
            return status, error
        if self.has_raised or status == "stopped":
            return "stopped", self.words
        return status, f"{error} (after {self.words})"

    def deliver(self) -> None:
        """End as the signal would have ended it, once the earlier handlers are restored.

        Raises:
            KeyboardInterrupt: after Ctrl-C. SystemExit: after another, with 128 + its number.
                Where the script had a handler of its own, only what that raises.
        """
        number, self.received = self.received, None
        if number is not None:
            self._meaning(number, inspect.currentframe())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        received = signal.Signals(number)
        if os.getpid() != self._process:
            self._in_a_child(received, frame)
        elif self._pipe is None:
            # Another training that ended later has restored this handler.
            self._meaning(received, frame)
        elif self.received is None:
            self._at, self.received = self._note(), received
            self._came_at = time.monotonic()
            self._spare_loaders()
            with suppress(OSError):
                os.write(self._pipe[1], bytes([number]))
        elif not self._is_same(received):
            self._again(received, frame)

    def _is_same(self, received: signal.Signals) -> bool:
        """Return whether a signal is the one that is being answered, sent by somebody else."""
        is_early = time.monotonic() - self._came_at < SAME_SECONDS
        is_term = received == self.received == signal.SIGTERM
        return is_term and is_early and not self._is_late

    def _again(self, received: signal.Signals, frame: FrameType | None) -> None:
        if self.is_evaluating and self._is_late:
            self._why = "its evaluation was cut short"
        elif not self._is_answered:
            came = f"{received.name} came again first"
            late = f"it reached no control point within {LIMIT_SECONDS:g} s"
            self._why = f"{late if self._is_late else came}; what followed the newest node is lost"
        self._is_answered = self.has_raised = True
        self._meaning(received, frame)
        # The script's own handler lets training continue: it ends at its next control point.
        self.has_raised, self._why = False, ""

    def _meaning(self, number: signal.Signals, frame: FrameType | None) -> None:
        """Do what a signal does by itself: call the script's own handler, or end."""
        before = self._before.get(number, signal.SIG_DFL)
        if callable(before):
            before(int(number), frame)
        else:
            raise SystemExit(128 + int(number))

    def _in_a_child(self, number: signal.Signals, frame: FrameType | None) -> None:
        """Handle a signal in a forked process: it inherits the handler, but not the run."""
        if number == signal.SIGINT and torch.utils.data.get_worker_info() is not None:
            # Ctrl-C reaches every process of a terminal, and the batches are still needed.
            return
        before = self._before.get(number, signal.SIG_DFL)
        if callable(before):
            before(int(number), frame)
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _spare_loaders(self) -> None:
        """Ignore loader workers that the same signal has ended while training ends."""
        before = signal.getsignal(signal.SIGCHLD)
        if getattr(before, "__module__", "") == _OF_LOADERS:
            self._before[signal.SIGCHLD] = before
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _watch(self, read: int, _write: int) -> None:
        """Wait for a signal, call the loop, and send it again if the loop does not come."""
        came = os.read(read, 1)
        os.close(read)
        if came in (b"", _OVER) or self.received is None:
            return
        number = self.received
        logger.warning(
            "branchtrack: %s. A node is created at the next control point, then training ends; "
            "a second signal ends it now.",
            self.words,
        )
        self._wake()
        early = min(EVALUATION_SECONDS, LIMIT_SECONDS)
        if self._is_answered_within(early):
            return
        if not self.is_evaluating and self._is_answered_within(LIMIT_SECONDS - early):
            return
        self._is_late = True
        os.kill(os.getpid(), number)
        if not self._is_answered_within(GRACE_SECONDS) and not callable(self._before[number]):
            self._why = f"it hung for {LIMIT_SECONDS + GRACE_SECONDS:g} s"
            self._abandon()
            os._exit(128 + number)

    def _is_answered_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._is_answered and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return self._is_answered
