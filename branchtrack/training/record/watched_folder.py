"""A folder in which each new file becomes a request to add it to the data of a training.

A thread of its own looks at it, opens what is there and asks for it, as a person would: the record
says which file came when, and a refusal is one line of it. Nothing is added without a request.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from branchtrack import control
from branchtrack.control.submission import REFUSALS
from branchtrack.core.actors import Actor
from branchtrack.core.names import as_name, free_name, storable
from branchtrack.core.records import Request
from branchtrack.db import requests, runs, segments
from branchtrack.db.engine import Database
from branchtrack.db.storage.compositions import composition_of
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.shard_datasets import ShardDataset

logger = logging.getLogger("branchtrack")

#: Seconds between two looks, and for which a file must not have been written to.
LOOK_SECONDS, QUIET_SECONDS = 1.0, 2.0
#: What files are called while a program writes them.
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp")


class WatchedFolder:
    """Watches the folder of a dataset for the segment of a process, until `close`.

    The first branch of a run gets what lies in the folder already, any other what comes after the
    branch began: an older node continues with the data that it had.
    """

    def __init__(self, database: Database, segment_id: str, dataset: ShardDataset) -> None:
        assert dataset.watched is not None
        self._database, self._segment, self._dataset = database, segment_id, dataset
        self._folder = dataset.watched
        self._actor = Actor(f"watch {self._folder.name} ({control.local_actor()})")
        self._names: set[str] = set()
        #: Size and time of change of files that were seen, and since when they are so.
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}
        self._done: set[Path] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="branchtrack folder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; a file that is being read is given up."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self.look(time.monotonic())
            except Exception as error:
                # Nothing about a folder may end a training.
                logger.warning(
                    "branchtrack cannot look at %s: %s", self._folder, storable(str(error))
                )

    def look(self, now: float) -> None:
        """Ask for the files that nobody has written to for a while; ``now`` in seconds.

        Raises:
            StorageError, SchemaError: the database failed; they are asked for at the next look.
        """
        for path in self._quiet(now):
            since = self._since()
            if since is None or path.lstat().st_ctime >= since:
                self._ask(path)
            self._done.add(path)

    def _quiet(self, now: float) -> list[Path]:
        """Return files and folders in it that are complete, as far as can be seen."""
        if not self._folder.is_dir():
            return []
        quiet = []
        for path in sorted(self._folder.iterdir()):
            if path in self._done or path.name.startswith(".") or path.suffix in _UNFINISHED:
                continue
            try:
                look = _look(path)
            except OSError:
                # It has gone, or a part of it.
                continue
            before, since = self._seen.get(path, (None, now))
            self._seen[path] = look, since if look == before else now
            if look == before and now - since >= QUIET_SECONDS:
                quiet.append(path)
        return quiet

    def _since(self) -> float | None:
        """Return the time from which files are for this branch; None for the first one: all."""
        with self._database.read() as connection:
            branch = runs.get_branch(connection, segments.get(connection, self._segment).branch_id)
        return None if branch.start_node_id is None else branch.created_at

    def _ask(self, path: Path) -> None:
        try:
            fingerprint = self._dataset.prepare(path)
        except InvalidInput as error:
            # The training's own answer to the request will say so.
            logger.info("branchtrack: %s in the watched folder: %s", storable(path.name), error)
            fingerprint = ""
        with self._database.read() as connection:
            segment = segments.get(connection, self._segment)
            shards = composition_of(connection, segment.settings)
            branch = runs.get_branch(connection, segment.branch_id)
            run = runs.get_run(connection, segment.run_id)
        present = shards.shards if shards is not None else ()
        if any(s.fingerprint == fingerprint and s.source == str(path) for s in present):
            return
        taken = {shard.name for shard in present} | self._names
        name = free_name(as_name(path.stem, "shard"), taken)
        self._names.add(name)
        change: dict[str, Any] = {"kind": "data", "add": {name: str(path)}}
        if fingerprint:
            change["fingerprints"] = {name: fingerprint}
        words = [branch.id, fingerprint or str(_look(path))]
        try:
            self._submit(f"{run.name}/{branch.name}", change, path, words)
        except REFUSALS as error:
            # It is in the record.
            logger.warning("branchtrack: %s in the watched folder: %s", storable(path.name), error)

    def _submit(self, branch: str, change: dict[str, Any], path: Path, words: list[str]) -> None:
        """Ask for a file, once for each content of it; again if nobody answered before."""
        while True:
            digest = hashlib.sha256("\0".join(words).encode() + os.fsencode(path.name))
            key = f"watched {digest.hexdigest()}"
            request = self._earlier(words[0], key)
            if request is None:
                control.submit(
                    self._database,
                    branch,
                    change,
                    actor=self._actor,
                    reason=storable(f"{path.name} appeared in {self._folder}"),
                    key=key,
                )
                return
            is_unanswered = (request.error or "").startswith(requests.APPLIED_BUT)
            if request.state != "expired" and not is_unanswered:
                return
            words.append(request.id)

    def _earlier(self, branch_id: str, key: str) -> Request | None:
        """Return the request that was made under a key."""
        with self._database.read() as connection:
            run_id = runs.get_branch(connection, branch_id).run_id
            return requests.by_key(connection, run_id, self._actor.label, key)


def _look(path: Path) -> tuple[int, int]:
    """Return the size of a file and when it was changed; of a folder, of all that is in it."""
    # Of a link that leads nowhere, what is there is the link.
    stats = [file.stat() if file.exists() else file.lstat() for file in (path, *path.rglob("*"))]
    return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)
