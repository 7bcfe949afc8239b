"""What travels with a batch from where it was made: the values its samples were drawn with.

Only batches of a training's own pass carry a tag, which is removed before the loop sees the batch.
This module knows no loader and no setting.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Tagged(NamedTuple):
    """A batch, as the collate function returned it, and its tag in JSON.

    A tuple that ends in text, which torch's pinning and accelerate's copying leave as it is.
    """

    batch: Any
    tag: str


class Samples(NamedTuple):
    """The samples of a batch on the way to its collate function."""

    samples: Any
    tag: str


class Tagging:
    """A collate function that passes the tag of its samples on to the batch."""

    def __init__(self, collate: Any) -> None:
        self.collate = collate

    def __call__(self, items: Any) -> Any:
        if isinstance(items, Samples):
            return Tagged(self.collate(items.samples), items.tag)
        return self.collate(items)
