"""Trainings whose packs go to a bucket, in processes that are killed in the middle of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from branchtrack.checkpoints import folder as folders
from branchtrack.checkpoints.remote import bucket as buckets
from branchtrack.checkpoints.remote import spool
from branchtrack.checkpoints.remote.bucket import Bucket
from branchtrack.checkpoints.remote.pack_cache import PackCache
from branchtrack.checkpoints.remote.spool import Spool
from branchtrack.db import nodes
from branchtrack.training.record import commits
from tests.training import jobs

#: Where a process dies: (object, name of the function, whether it is called before dying).
FAIL_POINTS: dict[str, tuple[Any, str, bool]] = {
    "within the spooled pack": (folders, "_write", False),
    "between spooled pack and its record": (Spool, "_write_record", False),
    "once it is spooled": (Spool, "_write_record", True),
    "before the upload": (Bucket, "put", False),
    "after the upload": (Bucket, "put", True),
    "within the transaction": (nodes, "commit", True),
    "after the transaction": (commits, "record", True),
    "before the spool forgets it": (Spool, "remove", False),
    "after the spool has forgotten it": (Spool, "remove", True),
    "within the cache": (PackCache, "_take", False),
}
assert spool.FOLDER == "spool"


def victim(
    folder: Path, variables: Mapping[str, str], run: str, point: str | None, begun: Any
) -> None:
    """Train a run with a node at every step, until this process is killed or kills itself."""
    os.environ.update(variables)
    jobs.FAIL_POINTS.update(FAIL_POINTS)
    jobs.victim(folder, run, False, point, begun)


def uploader(folder: Path, variables: Mapping[str, str], run: str, number: int, begun: Any) -> None:
    """Train a run with a node at every step; ``begun`` is set within the upload of that number.

    Every other one of them uploads in parts.
    """
    os.environ.update(variables)
    # Equal states would have nothing to upload.
    jobs.VICTIM["learning_rate"] = 1e-3 * (1 + int(run[1:]) / 1000)
    if number % 2:
        buckets.SINGLE_BYTES = 1000
    put, count = Bucket._put, [0]

    def noted(*arguments: Any, **options: Any) -> None:
        count[0] += 1
        if count[0] == number:
            begun.set()
        put(*arguments, **options)

    Bucket._put = noted  # type: ignore[method-assign]
    jobs.victim(folder, run, False, None, multiprocessing.Event())


def finish(folder: Path, variables: Mapping[str, str], point: str) -> None:
    """Finish what others left, until this process kills itself."""
    from branchtrack.control.store import spooled
    from tests.training.homes import Home

    os.environ.update(variables)
    jobs.FAIL_POINTS.update(FAIL_POINTS)
    jobs.deadly(point, 1)
    home = Home(folder)
    spooled.finish(home.database, home.store)
    os.kill(os.getpid(), signal.SIGUSR1)
