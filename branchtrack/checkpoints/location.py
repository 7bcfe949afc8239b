"""The one place that chooses the backend for the packs of a home."""

from __future__ import annotations

from pathlib import Path

from branchtrack.checkpoints.folder import Folder
from branchtrack.checkpoints.packs import Store


def open_store(folder: Path) -> Store:
    """Return the store in a home's folder (see `Config.store`); nothing is created yet."""
    return Store(Folder(folder), home=folder.parent)
