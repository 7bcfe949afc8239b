"""The one place that chooses the backend for the packs of a home."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from branchtrack import store_address
from branchtrack.checkpoints.folder import Folder
from branchtrack.checkpoints.packs import Store

#: The folder of a home that holds copies of the packs in its bucket.
CACHE = "cache"


def open_store(folder: Path) -> Store:
    """Return the store of the home that ``folder`` is in (see `Config.store`): there, or a bucket.

    Nothing is created yet, and no bucket is asked anything.

    Raises:
        InvalidInput: the environment names another place than the home's packs are in, no place at
            all, or one whose client is not installed.
        HomeError: what the home remembers of its bucket cannot be read.
    """
    home = folder.parent
    address = store_address.of_home(home)
    if address is None:
        return Store(Folder(folder), home=home)
    from branchtrack.checkpoints.remote.bucket import Bucket
    from branchtrack.checkpoints.remote.cached import CachedBucket
    from branchtrack.checkpoints.remote.pack_cache import PackCache

    cache = PackCache(home / CACHE, store_address.cache_bytes())
    announce = partial(store_address.remember, home, address)
    return Store(CachedBucket(Bucket(address), cache, announce), home=home)
