"""The end of a worker: its trainings make a node each and end, so that no process is left.

It must not know terminals, nor what a training process does.
"""

from __future__ import annotations

import threading
import time

from branchtrack.errors import BranchtrackError
from branchtrack.launching.worker import POLL, Worker

#: Seconds between two lines that say what is waited for.
SAY_EVERY = 5.0
#: Seconds that a database which cannot be written is tried after the last process has ended.
PATIENCE = 10.0


def stop_children(worker: Worker, hurry: threading.Event) -> None:
    """Have every child make a node and end, and record how; return once all have.

    A child that has not ended after `children.GRACE`, or by the time that ``hurry`` is set, is
    killed. A launch that trained nothing yet goes back into the queue.
    """
    began, next_line = time.monotonic(), 0.0
    over: float | None = None
    while worker.children:
        for child in worker.children.values():
            child.ask_to_end()
            if hurry.is_set():
                child.kill()
        try:
            if time.monotonic() >= next_line:
                next_line = time.monotonic() + SAY_EVERY
                _say(worker, time.monotonic() - began)
            worker.give_sign()
            worker.collect(requeue=True)
        except BranchtrackError as error:
            if all(child.has_ended() for child in worker.children.values()):
                over = over or time.monotonic()
                if time.monotonic() - over > PATIENCE:
                    worker.say(f"{error} The next worker records how they ended.")
                    return
        time.sleep(POLL)
    worker.leave()


def _say(worker: Worker, waited: float) -> None:
    names = worker.still_training()
    if names:
        since = f" ({waited:.0f} s)" if waited >= 1 else ""
        worker.say(f"Waiting for a node and the end of {', '.join(names)}{since}")
