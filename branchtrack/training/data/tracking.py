"""The position, order and randomness of the batches of a DataLoader, saved and restored exactly.

`track` puts three small objects into an existing loader, so that code that iterates it sees no
difference:

* map datasets: `Batches` around the batch sampler. It notes the random state in which the order of
  an epoch was drawn and that in which each batch was begun, and can start in the middle of an epoch
  without reading what was read before. Batches fetched by workers carry a key instead, from which
  `Keyed` seeds the worker: (seed, epoch, number of the batch).
* iterable datasets: `Streamed` around the dataset. Each batch is fetched under generators of its
  own, seeded by such a key, so that reading a pass again gives the same items again.

Where datasets declare settings (see `dataset_settings`), each batch carries a tag with the values
its samples were drawn with, and a pass can be restarted where it is with the present values.

Without workers the batches of a map dataset are drawn from the process's own generators, as without
branchtrack: the same script gives the same bits.
"""

from __future__ import annotations

import logging
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, IterDataPipe

from branchtrack.training.data import division
from branchtrack.training.data.batch_sampler import Batches
from branchtrack.training.data.generators import Generators
from branchtrack.training.data.iterable import Collated, Streamed
from branchtrack.training.data.keyed import Keyed
from branchtrack.training.data.position import LoaderPosition
from branchtrack.training.ranks import models
from branchtrack.training.settings.batch_tags import Tagging
from branchtrack.training.settings.dataset_settings import DataSettings

logger = logging.getLogger("branchtrack")


def track(
    loader: DataLoader[Any], seed: int, *, placeholders: bool = False, ahead: bool = True
) -> LoaderPosition:
    """Track the batches of a torch DataLoader, in place; return the position in them.

    ``seed`` is part of every key. ``placeholders``: a map dataset's pass that starts in the middle
    begins with an empty list for every batch before it, for an accelerate loader to drop unread.
    ``ahead``: the code that iterates may have fetched one batch more than it yields, so the state
    after each is needed.
    """
    is_iterable = isinstance(loader.dataset, IterableDataset)
    is_piped = isinstance(loader.dataset, IterDataPipe)
    steered = not is_piped and loader.batch_size is not None or loader.batch_sampler is not None
    generators = Generators(
        dataset=loader.dataset,
        collate=loader.collate_fn,
        sampler=division.undivided(loader.batch_sampler),
    )
    settings = settings_of(loader.dataset, steered=steered)
    position = LoaderPosition(
        loader,
        seed,
        settings,
        batch_sampler=None if is_iterable else loader.batch_sampler,
        stream=Streamed(loader, settings) if is_iterable and not is_piped else None,
        generators=generators,
        placeholders=placeholders,
        looks_ahead=ahead,
        rank=models.group_rank(),
    )
    _install(loader, position)
    return position


def _install(loader: DataLoader[Any], position: LoaderPosition) -> None:
    """Put what records the position into the loader."""
    # torch refuses such changes, since an iterator made before would not see them.
    if position.stream is not None:
        object.__setattr__(loader, "dataset", position.stream)
    elif position.batch_sampler is not None:
        object.__setattr__(loader, "batch_sampler", position.batch_sampler)
        if position.is_marking:
            keyed = Keyed(loader.dataset, loader.collate_fn, position.settings)
            object.__setattr__(loader, "dataset", keyed)
        if position.settings.declared:
            loader.collate_fn = Tagging(loader.collate_fn)


def untrack(loader: DataLoader[Any]) -> None:
    """Remove from a loader what `track` put into it, if anything."""
    if isinstance(loader.batch_sampler, Batches):
        object.__setattr__(loader, "batch_sampler", loader.batch_sampler.inner)
    if isinstance(loader.dataset, Keyed):
        object.__setattr__(loader, "dataset", loader.dataset.dataset)
    elif isinstance(loader.dataset, Streamed):
        object.__setattr__(loader, "dataset", loader.dataset.inner)
    if isinstance(loader.collate_fn, (Collated, Tagging)):
        loader.collate_fn = loader.collate_fn.collate
    # Persistent workers have copies of what was in the loader when they started.
    loader._iterator = None


def settings_of(source: Any, *, steered: bool) -> DataSettings:
    """Return the settings of the data behind a loader or dataset; none where they cannot be
    changed, which is logged once.
    """
    settings = DataSettings(source)
    if steered or not settings.declared:
        return settings
    logger.warning(
        "branchtrack: %s cannot be changed during this training. Only the data of a torch "
        "DataLoader that makes batches of a map or iterable dataset can.",
        " and ".join(settings.declared),
    )
    return DataSettings(None)
