"""Subscriptions to notices that are live, and whether one has been heard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from branchtrack.db.engine import Database
from branchtrack.db.notices.listener import Subscription

_SECONDS = 60.0


def until(met: Callable[[], bool]) -> bool:
    """Whether something comes to hold."""
    deadline = time.monotonic() + _SECONDS
    while not met():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@contextmanager
def listening(database: Database, *keys: str) -> Iterator[list[Subscription]]:
    """Subscriptions to these keys, once notices arrive."""
    subscriptions = [database.subscribe(key) for key in keys]
    assert until(lambda: all(each.is_live for each in subscriptions))
    # The beginning of listening is noticed by those who have subscribed before.
    time.sleep(0.05)
    for each in subscriptions:
        each.rest(0.0)
    yield subscriptions
    for each in subscriptions:
        each.release()


def heard(subscription: Subscription) -> bool:
    """Whether a notice comes."""
    return subscription.rest(_SECONDS)
