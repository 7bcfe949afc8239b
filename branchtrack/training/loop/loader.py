"""The batches of a run for a loop that another library owns and that reads its loader by itself.

    loader = branchtrack.track_loader(DataLoader(...))
    ... pass ``loader`` to the library, and in its first hook:
    run = branchtrack.start("name", model=model, optimizer=optimizer, data=loader)

Each iteration is one pass; the first after a resume is the rest of the pass of the node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from branchtrack.errors import InvalidInput

#: Yields the rest of a pass.
Passes = Callable[[], Iterator[Any]]


class TrackedLoader:
    """A DataLoader, or another re-iterable, read through the run that it was passed to.

    Everything else (``batch_size``, ``dataset``, its length ...) is the loader's own.
    """

    def __init__(self, source: Any, passes: Passes | None = None) -> None:
        self.source = source
        self._passes = passes

    def bind(self, passes: Passes) -> None:
        """Take the batches from a run, also those of an iteration that has not been read yet."""
        self._passes = passes

    def __iter__(self) -> Iterator[Any]:
        # A library may create its iterator before its first hook, where the run begins.
        if self._passes is None:
            yield from self.source
        else:
            yield from self._passes()

    def __len__(self) -> int:
        return len(self.source)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)


def track_loader(loader: Any) -> TrackedLoader:
    """Track a loader that another library reads, by the run that gets it as ``data``.

    Raises:
        InvalidInput: it can be read only once, or not at all, or is text.
    """
    readable = hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")
    if not readable or isinstance(loader, (str, bytes, type)) or iter(loader) is loader:
        raise InvalidInput("loader", loader, "a DataLoader, or what can be iterated again")
    return TrackedLoader(loader)


def unwrapped(data: Any) -> Any:
    """Return the loader itself."""
    return data.source if isinstance(data, TrackedLoader) else data
