"""Settings of the data: declared by datasets, found behind a loader, read and written in place.

Values are those of the objects in this process. The values that made a batch travel with it (see
`batch_tags`) from the process that made it. This module knows no loader, session or request.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from branchtrack.core.builtin_settings import DATA
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.author import Declared, setting
from branchtrack.training.settings.batch_tags import Tagged
from branchtrack.training.settings.shard_datasets import ShardDatasets

#: The attribute in which an object keeps its declarations, by names without the prefix.
MARK = "_branchtrack_settings"
#: The attribute of datasets whose items are draws: another order of them is another draw.
DRAWS_ITEMS = "_branchtrack_draws_items"
PREFIX = "data."
EFFECT = "from the next sample"
#: Attributes in which wrappers keep what they wrap: torch's, and branchtrack's own.
_WITHIN = ("dataset", "datasets", "inner")

D = TypeVar("D")


def declare(dataset: D, /, **settings: Any) -> D:
    """Declare attributes of a dataset as settings ``data.NAME`` of the run that trains from it.

        train = branchtrack.declare(Noisy(texts), noise=branchtrack.setting(0.1, minimum=0))

    Each attribute (it may be a property with a setter) is set to its first value, plain or made by
    `branchtrack.setting`, and the dataset is returned. The code that reads the samples has to look
    the attribute up for each of them. A change during training holds from the next sample trained
    on, with loader workers too; other users of the same object see it as well.

    The dataset is found through Subset, ConcatDataset and other wrappers that keep it as
    ``dataset`` or ``datasets``, in a DataLoader that makes batches of a map or iterable dataset. An
    iterable one has to be readable from its start again: that is how it returns to a position.

    Raises:
        InvalidInput: a value that its setting refuses, or a dataset without such an attribute.
            Nothing was changed.
    """
    existing = marks(dataset)
    declarations: dict[str, Setting] = {}
    values: dict[str, Any] = {}
    for name, initial in settings.items():
        declaration = initial if isinstance(initial, Declared) else setting(initial)
        declarations[name] = replace(
            declaration.setting, name=PREFIX + name, effect=EFFECT, group=DATA
        )
        values[name] = declarations[name].validate(declaration.value)
        if name in existing:
            raise _twice(declarations[name].name)
    before = {name: getattr(dataset, name) for name in values if hasattr(dataset, name)}
    done: list[str] = []
    try:
        for name, value in values.items():
            setattr(dataset, name, value)
            done.append(name)
        setattr(dataset, MARK, {**existing, **declarations})
    except (AttributeError, TypeError) as error:
        for name in done:
            if name in before:
                setattr(dataset, name, before[name])
            else:
                delattr(dataset, name)
        raise InvalidInput(
            "dataset",
            type(dataset).__name__,
            "an object whose attributes can be set",
            what=f"The dataset does not take its settings: {error}.",
        ) from error
    return dataset


def marks(owner: Any) -> dict[str, Setting]:
    """Return what an object itself declares, by names without the prefix."""
    declarations: dict[str, Setting] = getattr(owner, "__dict__", {}).get(MARK, {})
    return declarations


def declared_values(data: Any) -> dict[str, Any]:
    """Return the settings behind a dataset or loader with their present values."""
    return DataSettings(data).values()


class DataSettings:
    """The settings of the data that a training reads, and how far it has read.

    ``declared`` holds the declarations by name. ``given`` counts the samples passed to training
    since the branch began; None if a node was resumed that did not count them. ``drawn`` counts
    them by shard, where they come from a `LiveDataset`.
    """

    def __init__(self, data: Any) -> None:
        self.declared: dict[str, Setting] = {}
        self._owners: dict[str, tuple[Any, str]] = {}
        for owner in _owners(data, set()):
            for attribute, declaration in marks(owner).items():
                if declaration.name in self.declared:
                    raise _twice(declaration.name)
                self.declared[declaration.name], self._owners[declaration.name] = (
                    declaration,
                    (owner, attribute),
                )
        self.given: int | None = 0
        self.drawn: Counter[str] = Counter()
        self.shards = ShardDatasets(owner for owner, _attribute in self._owners.values())
        self._progress: dict[str, int] = {}
        self._before: tuple[int | None, Counter[str], dict[str, int]] = (0, Counter(), {})
        self._used: dict[str, Any] = {}
        self._first, self._changes = self.values(), list[list[Any]]()

    def values(self) -> dict[str, Any]:
        """Return every setting's value, from the objects in this process."""
        return {name: self.read(name) for name in self.declared}

    def read(self, name: str) -> Any:
        """Return a setting's value, from the object in this process."""
        owner, attribute = self._owners[name]
        reader = getattr(type(owner), "read_setting", None)
        return _plain(reader(owner, attribute) if reader else getattr(owner, attribute))

    def write(self, values: Mapping[str, Any]) -> None:
        """Write other values, all or none.

        Raises:
            InvalidInput: a value that its setting refuses, or its dataset in this combination.
        """
        valid = {name: self.declared[name].validate(value) for name, value in values.items()}
        put_back = self.keep()
        try:
            self._put(valid)
        except BaseException:
            put_back()
            raise

    def keep(self) -> Callable[[], None]:
        """Keep every value; calling the result restores them."""
        before = self.values()
        return lambda: self._put({n: v for n, v in before.items() if v != self.read(n)})

    def used(self) -> dict[str, Any]:
        """Return the values that made the newest batch passed to training; None before the first.

        They were read where its samples were drawn, possibly in another process.
        """
        return {name: self._used.get(name) for name in self.declared}

    @property
    def from_sample(self) -> int | None:
        """The number of the next sample to be trained on, from 0 over the whole branch."""
        return self.given

    @property
    def is_stale(self) -> bool:
        """Whether batches already fetched were made with values that have changed since."""
        return bool(self.declared) and self.values() != self._newest()

    def enter(self, *, fresh: bool) -> None:
        """Note that what is fetched from here on is made with the present values.

        ``fresh``: a pass begins; otherwise one continues.
        """
        if fresh:
            self._first, self._changes, self._progress = self.values(), [], {}
        elif self.is_stale:
            self._changes.append([dict(self._progress), self.values()])

    def mark(self) -> None:
        """Note that the batches of another update are about to be passed on."""
        self._before = self.given, self.drawn.copy(), dict(self._progress)

    @contextmanager
    def before_newest(self) -> Iterator[None]:
        """Within the block, use the position of the last `mark`."""
        newest = self.given, self.drawn, self._progress
        self.given, self.drawn, self._progress = self._before
        try:
            yield
        finally:
            self.given, self.drawn, self._progress = newest

    def open(self, batch: Any) -> Any:
        """Return a batch without its tag; it is passed to training now."""
        if not isinstance(batch, Tagged):
            return batch
        tag = json.loads(batch.tag)
        self._used = tag["values"]
        if self.given is not None:
            self.given += tag["count"]
        self.drawn.update(tag.get("drawn", {}))
        if "worker" in tag:
            self._progress[tag["worker"]] = tag["items"]
        return batch.batch

    def state(self, *, begun: bool, streams: bool) -> dict[str, Any]:
        """Return what a resume needs; ``streams``: a pass that was begun has to be read again."""
        stored: dict[str, Any] = {"given": self.given}
        if self.shards:
            stored["drawn"] = dict(self.drawn)
        if begun and streams:
            stored |= {"progress": self._progress, "first": self._first, "changes": self._changes}
        return stored

    def resume(self, state: Mapping[str, Any] | None) -> None:
        """Continue from what `state` returned; the values are settings, restored by `write`."""
        stored = state or {"given": None}
        self.given = stored["given"]
        self.drawn = Counter(stored.get("drawn", {}))
        self._progress = dict(stored.get("progress", {}))
        self._first = dict(stored.get("first", self.values()))
        self._changes = [list(change) for change in stored.get("changes", [])]

    def history(self, worker: str) -> list[tuple[int, dict[str, Any]]]:
        """Return the values of a pass that is read again, by the item of a worker they start at."""
        later = [(int(at.get(worker, 0)), values) for at, values in self._changes]
        return [(0, self._first), *later]

    def replay(self, values: Mapping[str, Any]) -> None:
        """Restore values of an earlier part of the pass."""
        declared = {name: value for name, value in values.items() if name in self.declared}
        self._put({name: value for name, value in declared.items() if value != self.read(name)})

    def _newest(self) -> dict[str, Any]:
        values: dict[str, Any] = self._changes[-1][1] if self._changes else self._first
        return values

    def _put(self, values: Mapping[str, Any]) -> None:
        several: dict[int, tuple[Any, dict[str, Any]]] = {}
        for name, value in values.items():
            owner, attribute = self._owners[name]
            if hasattr(type(owner), "write_settings"):
                several.setdefault(id(owner), (owner, {}))[1][attribute] = value
            else:
                setattr(owner, attribute, value)
        for owner, attributes in several.values():
            owner.write_settings(attributes)


def _owners(source: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the objects that declare something, in an object and in what it wraps."""
    if source is None or id(source) in seen:
        return
    seen.add(id(source))
    if marks(source):
        yield source
    for name in _WITHIN:
        inner = getattr(source, "__dict__", {}).get(name)
        if isinstance(inner, Mapping):
            inner = list(inner.values())
        for child in inner if isinstance(inner, (list, tuple)) else [inner]:
            yield from _owners(child, seen)


def _plain(value: Any) -> Any:
    """Return a value as it is stored; a number of numpy's or torch's as Python's own."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def _twice(name: str) -> InvalidInput:
    return InvalidInput(
        "declare",
        name,
        "one declaration of each name among the datasets of a training",
        what=f"Two datasets, or one of them twice, declare {name}.",
    )
