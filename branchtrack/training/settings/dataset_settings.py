"""Settings of the data: what datasets declare, found behind a loader, read and written in place.

Values are those of the objects in this process. What a batch was really made with comes with the
batch (see `tags`), from the process that made it. It knows no loader, no session and no request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.author import Declared, setting
from branchtrack.training.settings.batch_tags import Tagged

#: Where an object keeps its declarations, by their names without the prefix.
MARK = "_branchtrack_settings"
PREFIX = "data."
EFFECT = "from the next sample"
#: Where wrappers keep what they wrap: torch's, and branchtrack's own.
_WITHIN = ("dataset", "datasets", "inner")

D = TypeVar("D")


def declare(dataset: D, /, **settings: Any) -> D:
    """Declare attributes of a dataset as settings ``data.NAME`` of the run that trains from it.

        train = branchtrack.declare(Noisy(texts), noise=branchtrack.setting(0.1, minimum=0))

    Each attribute (it may be a property with a setter) is set to its first value, plain or made by
    `branchtrack.setting`, and the dataset is returned. What reads the samples has to look the
    attribute up for each of them. A change while it trains holds from the next sample that is
    trained on, with loader workers too; whatever else reads the same object sees it as well.

    The dataset is found through Subset, ConcatDataset and other wrappers that keep it as
    ``dataset`` or ``datasets``, in a DataLoader that gives batches of a map or iterable dataset.
    An iterable one has to be readable from its start again: that is how it comes back to a place.

    Raises:
        InvalidInput: a value that its setting refuses, or a dataset without such an attribute.
            Nothing was changed.
    """
    existing = marks(dataset)
    declarations: dict[str, Setting] = {}
    values: dict[str, Any] = {}
    for name, initial in settings.items():
        declaration = initial if isinstance(initial, Declared) else setting(initial)
        declarations[name] = replace(declaration.setting, name=PREFIX + name, effect=EFFECT)
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
    """What an object itself declares, by names without the prefix."""
    declarations: dict[str, Setting] = getattr(owner, "__dict__", {}).get(MARK, {})
    return declarations


def declared_values(data: Any) -> dict[str, Any]:
    """The settings behind a dataset or loader with the values they have now."""
    return DataSettings(data).values()


class DataSettings:
    """The settings of the data that one training reads, and how far it has read.

    ``declared`` holds the declarations by name. ``given`` counts the samples that were given to
    training since the branch began; None where a node was resumed that did not count them.
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
        self._progress: dict[str, int] = {}
        self._before: tuple[int | None, dict[str, int]] = (0, {})
        self._used: dict[str, Any] = {}
        self._first, self._changes = self.values(), list[list[Any]]()

    def values(self) -> dict[str, Any]:
        """Every setting's value, as the objects in this process have it."""
        return {name: self.read(name) for name in self.declared}

    def read(self, name: str) -> Any:
        """A setting's value, as the object in this process has it."""
        owner, attribute = self._owners[name]
        reader = getattr(type(owner), "read_setting", None)
        return _plain(reader(owner, attribute) if reader else getattr(owner, attribute))

    def write(self, values: Mapping[str, Any]) -> None:
        """Give settings other values, all or none.

        Raises:
            InvalidInput: a value that its setting, or its dataset beside others, refuses.
        """
        valid = {name: self.declared[name].validate(value) for name, value in values.items()}
        put_back = self.keep()
        try:
            self._put(valid)
        except BaseException:
            put_back()
            raise

    def keep(self) -> Callable[[], None]:
        """Keep every value; calling the result puts them back."""
        before = self.values()
        return lambda: self._put({n: v for n, v in before.items() if v != self.read(n)})

    def used(self) -> dict[str, Any]:
        """What the newest batch that was given to training was made with; None before the first.

        Read where its samples were drawn, perhaps by another process.
        """
        return {name: self._used.get(name) for name in self.declared}

    @property
    def from_sample(self) -> int | None:
        """The number, counted from 0 over the whole branch, of the next sample to be trained on."""
        return self.given

    @property
    def is_stale(self) -> bool:
        """Whether batches fetched by now were made with values that have been changed since."""
        return bool(self.declared) and self.values() != self._newest()

    def enter(self, *, fresh: bool) -> None:
        """What is fetched from here on is made with the present values.

        ``fresh``: a pass begins; otherwise one goes on.
        """
        if fresh:
            self._first, self._changes, self._progress = self.values(), [], {}
        elif self.is_stale:
            self._changes.append([dict(self._progress), self.values()])

    def mark(self) -> None:
        """The batches of another update are about to be given."""
        self._before = self.given, dict(self._progress)

    @contextmanager
    def before_newest(self) -> Iterator[None]:
        """Within the block the place is the one of the last `mark`."""
        newest = self.given, self._progress
        self.given, self._progress = self._before
        try:
            yield
        finally:
            self.given, self._progress = newest

    def open(self, batch: Any) -> Any:
        """A batch as the loader's author meant it; it is given to training now."""
        if not isinstance(batch, Tagged):
            return batch
        tag = json.loads(batch.tag)
        self._used = tag["values"]
        if self.given is not None:
            self.given += tag["count"]
        if "worker" in tag:
            self._progress[tag["worker"]] = tag["items"]
        return batch.batch

    def state(self, *, begun: bool, streams: bool) -> dict[str, Any]:
        """What a resume needs; ``streams``: a pass that was begun has to be read again."""
        stored: dict[str, Any] = {"given": self.given}
        if begun and streams:
            stored |= {"progress": self._progress, "first": self._first, "changes": self._changes}
        return stored

    def resume(self, state: Mapping[str, Any] | None) -> None:
        """Go on where `state` was; the values themselves are settings, and given by `write`."""
        stored = state or {"given": None}
        self.given = stored["given"]
        self._progress = dict(stored.get("progress", {}))
        self._first = dict(stored.get("first", self.values()))
        self._changes = [list(change) for change in stored.get("changes", [])]

    def history(self, worker: str) -> list[tuple[int, dict[str, Any]]]:
        """The values of a pass that is read again: from which item of a worker on they held."""
        later = [(int(at.get(worker, 0)), values) for at, values in self._changes]
        return [(0, self._first), *later]

    def replay(self, values: Mapping[str, Any]) -> None:
        """Have values again that were in force before."""
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
    """The objects that declare something, in an object and in what it wraps."""
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
    """A value as it is stored; a number of numpy's or torch's as Python's own."""
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
