"""Which backend holds the packs of a home: the one place that chooses it."""

from __future__ import annotations

from pathlib import Path

from branchtrack.checkpoints.folder import Folder
from branchtrack.checkpoints.packs import Store


def open_store(folder: Path) -> Store:
    """Return the store in a home's folder, see `Config.store`; nothing is created yet."""
    return Store(Folder(folder), home=folder.parent)
