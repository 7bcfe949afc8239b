"""`LiveDataset`: a map dataset of shards that can be added to, reduced and reweighted in training.

Item i is a function of the seed, i and the composition. The composition is one setting of the run,
so that nodes, resumes, forks and the proof of a change treat it as they treat any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from branchtrack.core.builtin_settings import DATA
from branchtrack.core.settings import Setting
from branchtrack.core.shards import composition as compositions
from branchtrack.core.shards.composition import SETTING, Composition, Shard
from branchtrack.errors import DataChanged, InvalidInput
from branchtrack.training.data.arguments import check_length, check_seed, check_weights
from branchtrack.training.data.live import sources
from branchtrack.training.data.live.drawing import Draws
from branchtrack.training.data.live.readers import Reader
from branchtrack.training.data.live.sources import Source
from branchtrack.training.settings.dataset_settings import DRAWS_ITEMS, EFFECT, MARK, PREFIX

_ATTRIBUTE = SETTING.removeprefix(PREFIX)


class LiveDataset(Dataset[Any]):
    """A map dataset that draws from shards, which can change while a training reads it.

        data = branchtrack.LiveDataset({"code": "code.jsonl", "prose": "prose/"}, watch="incoming")
        branchtrack data RUN --add chat=chat.jsonl --weight chat=0.5       (in a shell)

    ``shards`` are files, folders, or map datasets by name. Without ``weights`` all items are drawn
    equally often. ``length`` is the number of items of a pass; by default, that of all shards at
    the beginning. ``read`` returns the items of a path (by default by its suffix: see `readers`),
    and ``transform`` turns an item into what the training gets. Each file that appears in the
    folder ``watch`` becomes a request to add it. ``roots``: folders outside which requests can add
    nothing; by default they can add any file that this process can read.

    Item i depends on nothing but ``seed``, i and the composition, so a resumed training draws what
    an uninterrupted one draws. Passes have the same items, to be shuffled by the sampler: to see
    others, pass a ``length`` that lasts for the whole training.

    Raises:
        InvalidInput: naming the argument that cannot be used, and what is allowed.
    """

    def __init__(
        self,
        shards: Mapping[str, Any],
        weights: Mapping[str, float] | None = None,
        *,
        length: int | None = None,
        seed: int = 0,
        read: Reader | None = None,
        transform: Callable[[Any], Any] | None = None,
        watch: str | PathLike[str] | None = None,
        roots: list[str | PathLike[str]] | None = None,
    ) -> None:
        if not isinstance(shards, Mapping) or not shards:
            raise InvalidInput("shards", shards, "one or more, by name")
        check_length(length)
        check_seed(seed)
        self.seed, self.transform = seed, transform
        self.watched = None if watch is None else Path(watch).expanduser().absolute()
        self._read, self._roots = read, [Path(root).resolve() for root in roots or ()]
        self._look_up: Callable[[str], str] | None = None
        #: Sources by path and fingerprint; objects of the script stay when they are removed.
        self._sources: dict[tuple[str, str], Source] = {}
        self._known: dict[str, Composition] = {}
        self._draws: Draws | None = None
        self._drawn: Counter[str] = Counter()
        first = {name: self._opened(name, source) for name, source in shards.items()}
        if weights is not None:
            check_weights(weights, first)
        self._composition = Composition(()).changed(first, weights=weights)
        self._note(self._composition)
        self.length = length or sum(shard.count for shard in first.values())
        setattr(self, MARK, {_ATTRIBUTE: _SETTING})
        setattr(self, DRAWS_ITEMS, True)

    @property
    def composition(self) -> Composition:
        """The shards that items are drawn from now."""
        return self._composition

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        position = index + self.length if index < 0 else index
        if not 0 <= position < self.length:
            raise IndexError(index)
        shard, number = self.pick(position)
        item = self._sources[shard.source, shard.fingerprint].item(number, shard.name)
        self._drawn[shard.key] += 1
        return item if self.transform is None else self.transform(item)

    def pick(self, index: int) -> tuple[Shard, int]:
        """Return the shard that item ``index`` is drawn from, and the number of the item there."""
        if self._draws is None:
            self._draws = Draws(self.seed, self._composition)
        number, item = self._draws.pick(index)
        return self._composition.shards[number], item

    def add(self, name: str, source: Any, weight: float | None = None) -> None:
        """Add a file, folder or map dataset as a shard, from the next sample on.

        Raises:
            InvalidInput: as for a request.
        """
        added = {name: self._opened(name, source)}
        self._take(
            self._composition.changed(added, weights=None if weight is None else {name: weight})
        )

    def remove(self, name: str) -> None:
        """Remove a shard.

        Raises:
            InvalidInput: there is no such shard, or no other.
        """
        self._take(self._composition.changed({}, remove=[name]))

    def reweight(self, **weights: float) -> None:
        """Give shards other weights.

        Raises:
            InvalidInput: there is no such shard, or a weight is none.
        """
        self._take(self._composition.changed({}, weights=weights))

    def changed(self, change: Mapping[str, Any]) -> str:
        """Return the value of the setting after a requested change (see `ChangeData`).

        Raises:
            InvalidInput: as `Composition.changed`, or a path that cannot be added.
        """
        expected = change.get("fingerprints") or {}
        paths = change.get("add") or {}
        compositions.check_names(
            self._composition.names, paths, change.get("remove") or (), change.get("weights") or {}
        )
        added = {}
        for name, path in paths.items():
            self._check_root(name, path)
            added[name] = shard = self._opened(name, path)
            if expected.get(name) not in (None, shard.fingerprint):
                allowed = f"a file with fingerprint {expected[name][:12]}"
                raise InvalidInput(f"add.{name}", path, allowed)
        after = self._composition.changed(added, change.get("remove") or (), change.get("weights"))
        self._note(after)
        return after.value

    def normalized(self, value: str) -> str:
        """Return a value of the setting as it is read back: a relative one computed.

        Raises:
            InvalidInput: there is no such composition, or it cannot be changed so.
        """
        if not compositions.is_relative(value):
            return value
        beginning = compositions.reference(value)
        base = self._composition if beginning is None else self._known_by(value, beginning)
        after = compositions.changed_by(value, base)
        self._note(after)
        return after.value

    def read_setting(self, attribute: str) -> str:
        """Return the composition as the value of its setting."""
        return self._composition.value

    def write_settings(self, values: Mapping[str, str]) -> None:
        """Draw from another composition, by the value of the setting.

        Raises:
            InvalidInput: there is no such composition.
            DataChanged: a shard of it is not there any more, or is not what it was.
        """
        value = self.normalized(values[_ATTRIBUTE])
        composition = self._known_by(value, compositions.reference(value))
        if composition.value != value:
            raise InvalidInput(SETTING, value, f"the value of that digest: {composition.value}")
        self._take(composition)

    def connect(self, look_up: Callable[[str], str]) -> None:
        """Have compositions of other processes looked up by the beginning of their digest."""
        self._look_up = look_up

    def documents(self) -> dict[str, str]:
        """Return the documents of all compositions that this process has seen, by digest."""
        return {digest: known.document for digest, known in self._known.items()}

    def take_drawn(self) -> dict[str, int]:
        """Return how many items were drawn from each shard since the last call."""
        drawn, self._drawn = dict(self._drawn), Counter()
        return drawn

    def prepare(self, path: Path) -> str:
        """Open a file that is about to be added; return its fingerprint.

        It may be called from another thread, so that training does not wait for the file.
        """
        return self._open_path(path).fingerprint

    def __getstate__(self) -> dict[str, Any]:
        # A worker draws for itself, and has no database.
        return {**self.__dict__, "_draws": None, "_look_up": None}

    def _opened(self, name: str, source: Any) -> Shard:
        if isinstance(source, (str, PathLike)):
            opened = self._open_path(Path(source).expanduser().absolute())
        else:
            opened = sources.open_items(source, name)
            self._sources["", opened.fingerprint] = opened
        return opened.shard(name)

    def _open_path(self, path: Path) -> Source:
        opened = sources.open_path(path, self._read)
        # One that is open already may be read from at this moment.
        return self._sources.setdefault((str(path), opened.fingerprint), opened)

    def _check_root(self, name: str, path: str) -> None:
        resolved = Path(path).resolve()
        if self._roots and not any(resolved.is_relative_to(root) for root in self._roots):
            roots = ", ".join(str(root) for root in self._roots)
            raise InvalidInput(f"add.{name}", path, f"a file in {roots}")

    def _known_by(self, value: str, beginning: str | None) -> Composition:
        """Return the composition that a value names by the beginning of its digest.

        Raises:
            InvalidInput: neither this process nor the record knows it.
        """
        for digest, composition in self._known.items():
            if beginning and digest.startswith(beginning):
                return composition
        document = self._look_up(beginning) if beginning and self._look_up else ""
        if not document:
            allowed = "a composition that a node of this home has, as branchtrack show prints it"
            raise InvalidInput(SETTING, value, allowed)
        return Composition.read(document)

    def _take(self, composition: Composition) -> None:
        for shard in composition.shards:
            self._require(shard)
        self._note(composition)
        before, self._composition, self._draws = self._composition, composition, None
        left = {(shard.source, shard.fingerprint) for shard in composition.shards}
        for shard in before.shards:
            key = shard.source, shard.fingerprint
            if shard.source and key not in left:
                # Whoever comes back to it opens it again.
                self._sources.pop(key, None)

    def _require(self, shard: Shard) -> None:
        """Have the items of a shard, with the content that it had when it was added."""
        opened = self._sources.get((shard.source, shard.fingerprint))
        if opened is None and shard.source:
            try:
                opened = sources.open_path(Path(shard.source), self._read)
            except InvalidInput as error:
                raise sources.vanished(shard.name, shard.source, error) from error
            self._sources[shard.source, opened.fingerprint] = opened
        if opened is None:
            raise DataChanged(
                f"Shard {shard.name} of the data was an object of the script with fingerprint "
                f"{shard.fingerprint[:12]}, and the script has none like it now.",
                safe="No other samples were drawn in its place.",
                fix="Pass the same object to LiveDataset again.",
                shard=shard.name,
                source="",
            )
        if opened.fingerprint != shard.fingerprint:
            raise sources.changed(shard.name, shard.source, shard.fingerprint, opened.fingerprint)
        if len(opened) != shard.count:
            raise DataChanged(
                f"Shard {shard.name} of the data has {len(opened):,} items instead of "
                f"{shard.count:,}: the same content is read in another way.",
                safe="No other samples were drawn in its place.",
                fix="Read it as the script that added it did.",
                shard=shard.name,
                source=shard.source,
            )

    def _note(self, composition: Composition) -> None:
        self._known[composition.digest] = composition


_SETTING = Setting(
    SETTING,
    "str",
    effect=EFFECT,
    group=DATA,
    short="data",
    about="shards that samples are drawn from, with their weights; changed by branchtrack data RUN",
)


__all__ = ["LiveDataset"]
