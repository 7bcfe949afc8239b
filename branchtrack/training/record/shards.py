"""What is recorded of the shards of the data: each composition, before a node names it.

Files that appear in a watched folder become requests (see `watched_folder`).
"""

from __future__ import annotations

from sqlalchemy import Connection

from branchtrack.db.engine import Database
from branchtrack.db.storage import texts
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.record.watched_folder import WatchedFolder
from branchtrack.training.settings.dataset_settings import DataSettings


class ShardRecord:
    """Writes the compositions that a training has had, in the order of its nodes."""

    def __init__(self, database: Database, recorder: Recorder) -> None:
        self._database, self._recorder = database, recorder
        self._recorded: set[str] = set()
        self._folders: list[WatchedFolder] = []

    def store(self, data: DataSettings | None) -> None:
        """Queue the writing of compositions that are not recorded yet."""
        documents = {} if data is None else data.shards.documents()
        new = [text for digest, text in documents.items() if digest not in self._recorded]
        self._recorded |= documents.keys()
        if new:
            self._recorder.do(lambda: self._write(new))

    def watch(self, data: DataSettings | None, segment_id: str) -> None:
        """Watch the folders that the training's datasets name, until `close`."""
        for dataset in [] if data is None else data.shards.datasets:
            if dataset.watched is not None:
                self._folders.append(WatchedFolder(self._database, segment_id, dataset))

    def close(self) -> None:
        """Watch no folder any more."""
        for folder in self._folders:
            folder.close()

    def _write(self, documents: list[str]) -> None:
        with self._database.transaction() as connection:
            for document in documents:
                texts.put(connection, document)


def look_up(connection: Connection, beginning: str) -> str:
    """Return the document of a composition by the beginning of its digest; empty if unknown."""
    return texts.starting(connection, [beginning]).get(beginning, "")
