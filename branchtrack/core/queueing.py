"""What a place in the queue of launches depends on, and when one that trains will have ended.

Pure values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from branchtrack.core.names import valid_name
from branchtrack.errors import InvalidInput

#: The highest priority, and with a minus sign the lowest.
MOST_PRIORITY = 1000
#: What is allowed of labels where a cluster carries out a launch.
OF_WORKERS = "none with a cluster: they choose a worker, and no worker starts its launches"
#: The most often that a crashed launch is started again.
MOST_RETRIES = 100


def valid_turn(
    priority: object,
    labels: Iterable[object] | None,
    retries: object,
    *,
    launcher: object = None,
) -> dict[str, Any]:
    """Return what a launch says of its turn: ``priority labels retries``, None for none.

    ``launcher`` is what carries it out if no worker does.

    Raises:
        InvalidInput: one of them is not valid, or labels of a worker are given with a launcher.
    """
    names = valid_labels(labels)
    if names and launcher is not None:
        raise InvalidInput("labels", ", ".join(names), OF_WORKERS)
    return {
        "priority": valid_priority(priority),
        "labels": names or None,
        "retries": valid_retries(retries) or None,
    }


def valid_retries(retries: object) -> int:
    """Return how often a crashed launch is started again.

    Raises:
        InvalidInput: it is not a whole number from 0 to `MOST_RETRIES`.
    """
    is_whole = isinstance(retries, int) and not isinstance(retries, bool)
    if not is_whole or not 0 <= int(str(retries)) <= MOST_RETRIES:
        raise InvalidInput("retries", retries, f"a whole number from 0 to {MOST_RETRIES}")
    return int(str(retries))


def valid_priority(priority: object) -> int | None:
    """Return a launch's priority; None stands for 0.

    Raises:
        InvalidInput: it is not a whole number within the limits.
    """
    if priority is None:
        return None
    is_whole = isinstance(priority, int) and not isinstance(priority, bool)
    if not is_whole or not -MOST_PRIORITY <= int(str(priority)) <= MOST_PRIORITY:
        allowed = f"a whole number from {-MOST_PRIORITY} to {MOST_PRIORITY}"
        raise InvalidInput("priority", priority, allowed)
    return int(str(priority))


def valid_labels(labels: Iterable[object] | None) -> list[str]:
    """Return the labels of a launch or worker, each once, by name.

    Raises:
        InvalidInput: they are not valid names.
    """
    if isinstance(labels, str):
        raise InvalidInput("labels", labels, "a list of names")
    return sorted({valid_name(label, "labels") for label in labels or ()})


def parse_labels(text: str) -> list[str]:
    """Return labels that are separated by commas.

    Raises:
        InvalidInput: one is not a valid name.
    """
    return valid_labels(name.strip() for name in text.split(",") if name.strip())


def can_take(worker_labels: Collection[str], labels: Iterable[str] | None) -> bool:
    """Return whether a worker has all the labels that a launch needs."""
    return set(labels or ()) <= set(worker_labels)


def expected_end(
    step: int, max_steps: int | None, rate: float | None, heard_at: float | None
) -> float | None:
    """Return when a training ends if it goes on at ``rate`` steps/s; None if that is not known.

    ``heard_at`` is when it was at ``step``. All times are seconds since the epoch.
    """
    if max_steps is None or not rate or rate <= 0 or heard_at is None:
        return None
    return heard_at + max(0, max_steps - step) / rate
