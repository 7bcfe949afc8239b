"""The thread that sends alerts, and looks for new ones, beside whatever a process does.

It never raises: the database or the network may be back the next time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from branchtrack.config import Config
from branchtrack.control.alerts import delivery
from branchtrack.control.alerts.delivery import Delivery
from branchtrack.control.alerts.watch import Watch
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError, InvalidInput

logger = logging.getLogger("branchtrack")

#: Seconds between two looks.
EVERY = 5.0


class Sender:
    """Does ``work`` every few seconds, and soon after `wake`, in a thread that `wake` starts."""

    def __init__(self, work: Callable[[], object], every: float = EVERY) -> None:
        self._work, self._every = work, every
        self._called, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="branchtrack alerts", daemon=True)
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Have the work done soon."""
        with self._lock:
            if self._thread.ident is None:
                self._thread.start()
        self._called.set()

    def close(self, patience: float | None = None) -> None:
        """Do the work once more if it has begun, and end; wait so many seconds at most."""
        self._over.set()
        if self._thread.ident is not None:
            self._called.set()
            self._thread.join(patience)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._called.wait(self._every)
            is_last = self._over.is_set()
            self._called.clear()
            try:
                self._work()
            except (BranchtrackError, OSError):
                continue
            except Exception:
                logger.exception("branchtrack cannot send alerts.")
                return


@contextmanager
def looking(database: Database, config: Config) -> Iterator[None]:
    """Look at all trainings of a home while the block runs, and send what is to be sent.

    A home that can only be read is not looked at.

    Raises:
        InvalidInput: the environment asks for a delivery that is not possible.
    """
    sent_by = delivery.from_environment()
    watch = Watch(database, config)

    def work() -> None:
        watch.look()
        delivery.deliver(database, sent_by)

    sender = Sender(work)
    if not database.read_only:
        sender.wake()
    try:
        yield
    finally:
        sender.close(EVERY)


def configured() -> Delivery | None:
    """Return the delivery that the environment asks for; warn if it asks for what cannot be."""
    try:
        return delivery.from_environment()
    except InvalidInput as error:
        logger.warning("branchtrack sends no alerts: %s", error)
        return None
