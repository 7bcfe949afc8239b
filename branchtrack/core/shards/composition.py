"""A composition: the shards that a training draws from, with their weights and fingerprints.

Nodes record it as one setting, whose value is a line of text: ``code:1 prose:3 @9f86d081884c7d65``.
What follows the ``@`` is the beginning of the SHA-256 of the document, which says everything else.
It knows no file and no dataset.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import fmean

from branchtrack.core.names import valid_name
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

#: The name of the setting.
SETTING = "data.shards"
#: Why a run's data cannot be changed so.
NO_SHARDS = "The run's data has no shards: its script trains from no branchtrack.LiveDataset."
_REFERENCE = re.compile(r"@([0-9a-f]{16})$")
_OF = re.compile(r" *of @[0-9a-f]{16}$")
#: Shards that a value lists; it counts the others.
_LISTED = 12
MOST_WEIGHT = 1e9
#: More would make the document of each change a burden to the database.
MOST_SHARDS = 10_000


@dataclass(frozen=True)
class Shard:
    """Items of one source. ``weight`` None stands for ``count``, the number of items.

    ``fingerprint`` is the SHA-256 of the content, 64 hex characters. ``source`` is the absolute
    path of a file or folder; empty for an object of the script.
    """

    name: str
    weight: float | None
    fingerprint: str
    count: int
    source: str = ""

    @property
    def effective_weight(self) -> float:
        """The weight, whether or not one was chosen."""
        return float(self.count) if self.weight is None else self.weight

    @property
    def key(self) -> str:
        """What samples of it are counted under: its name, and the beginning of its fingerprint."""
        return f"{self.name}@{self.fingerprint[:12]}"


@dataclass(frozen=True)
class Composition:
    """Shards in the order in which they were added."""

    shards: tuple[Shard, ...]

    @classmethod
    def read(cls, document: str) -> Composition:
        """Return what `document` is the text of."""
        return cls(tuple(Shard(**shard) for shard in json.loads(document)["shards"]))

    @property
    def document(self) -> str:
        """All of it as JSON, the same text for equal compositions."""
        shards = [asdict(shard) for shard in self.shards]
        return json.dumps({"shards": shards}, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the document, 64 hex characters."""
        return hashlib.sha256(self.document.encode()).hexdigest()

    @property
    def value(self) -> str:
        """The value of the setting."""
        words = [
            shard.name if shard.weight is None else f"{shard.name}:{shard.weight:g}"
            for shard in self.shards
        ]
        listed = words if len(words) <= _LISTED else [f"{len(words)} shards"]
        return " ".join([*listed, f"@{self.digest[:16]}"])

    @property
    def names(self) -> list[str]:
        """The names of its shards."""
        return [shard.name for shard in self.shards]

    def changed(
        self,
        add: Mapping[str, Shard],
        remove: Collection[str] = (),
        weights: Mapping[str, float] | None = None,
    ) -> Composition:
        """Return it with shards added and removed, and with other weights; all or none.

        Removing comes first, so that a shard can be replaced. A shard added without a weight gets
        the mean weight of the others, or none if they have none.

        Raises:
            InvalidInput: naming the shard and what is allowed.
        """
        check_names(self.names, add, remove, weights or {})
        left = [shard for shard in self.shards if shard.name not in remove]
        chosen = [shard.weight for shard in left if shard.weight is not None]
        mean = fmean(shard.effective_weight for shard in left) if chosen else None
        new = [replace(shard, weight=mean) for shard in add.values()]
        shards = left + new
        if weights:
            # Once a weight is chosen, the others stay what they have been so far.
            shards = [
                replace(shard, weight=float(weights.get(shard.name, shard.effective_weight)))
                for shard in shards
            ]
        return checked(Composition(tuple(shards)))


def reference(value: object) -> str | None:
    """Return the beginning of the digest that a value of the setting names; None if none."""
    match = _REFERENCE.search(value) if isinstance(value, str) else None
    return match[1] if match else None


def is_relative(value: object) -> bool:
    """Return whether a value of the setting is a change of weights: ``code:2 -prose``.

    What it is a change of may be named at its end: ``code:2 -prose of @9f86d081884c7d65``.
    """
    return isinstance(value, str) and (reference(value) is None or _OF.search(value) is not None)


def relative_to(value: str, base: object) -> str:
    """Return a relative value that names the composition which it is a change of.

    ``base`` is a value of the setting; the changes of a relative one come first.

    Raises:
        InvalidInput: the base names none.
    """
    if reference(value) is not None:
        return value
    beginning = reference(base)
    if beginning is None:
        raise InvalidInput(SETTING, value, "nothing", what=NO_SHARDS)
    before = _OF.sub("", str(base)) if is_relative(base) else ""
    return f"{before} {value} of @{beginning}".strip()


def changed_by(value: str, base: Composition) -> Composition:
    """Return a composition after the change that a relative value describes.

    Raises:
        InvalidInput: it is not written so, or names a shard that is not there.
    """
    remove, weights = [], {}
    for word in _OF.sub("", value).split():
        name, colon, number = word.rpartition(":")
        if colon and name:
            weights[name] = number
        elif word.startswith("-") and len(word) > 1:
            remove.append(word[1:])
        else:
            allowed = "NAME:WEIGHT to reweight, -NAME to remove, or a value that a node has"
            raise InvalidInput(SETTING, value, allowed)
    return base.changed({}, remove, parse_weights(weights))


def parse_weights(texts: Mapping[str, str]) -> dict[str, float]:
    """Return weights that were typed, by name.

    Raises:
        InvalidInput: one that is no number, or out of bounds.
    """
    return {
        name: Setting(f"weights.{name}", minimum=0.0, maximum=MOST_WEIGHT).validate(text)
        for name, text in texts.items()
    }


def checked(composition: Composition) -> Composition:
    """Return a composition that samples can be drawn from.

    Raises:
        InvalidInput: it has no weight above 0, or too many shards.
    """
    if len(composition.shards) > MOST_SHARDS:
        raise InvalidInput("shards", len(composition.shards), f"at most {MOST_SHARDS:,} shards")
    if not any(shard.effective_weight for shard in composition.shards):
        raise InvalidInput(
            SETTING,
            composition.names,
            "at least one shard with a weight greater than 0",
            what="No shard would be left to draw from.",
        )
    return composition


def check_names(
    present: Collection[str],
    add: Collection[str],
    remove: Collection[str],
    weights: Mapping[str, float],
) -> None:
    """Check the names of a change of a composition that has the shards ``present``.

    Raises:
        InvalidInput: naming the field and the name that it cannot have.
    """
    if not (add or remove or weights):
        allowed = "one or more of add, remove, weights"
        raise InvalidInput("data", None, allowed, what="No change of the data was requested.")
    listed = ", ".join([*present][:_LISTED]) + (" ..." if len(present) > _LISTED else "")
    for name in remove:
        if name not in present:
            raise InvalidInput(f"remove.{name}", name, listed, what=f"There is no shard {name!r}.")
    left = {*present} - {*remove}
    for name in add:
        valid_name(name, f"add.{name}")
        if name in left:
            allowed = "a name that no other shard has, or remove that one as well"
            raise InvalidInput(f"add.{name}", name, allowed, what=f"There is a shard {name!r}.")
    for name, weight in weights.items():
        if name not in {*left, *add}:
            allowed = listed if name not in remove else "shards that are not removed"
            what = f"There is no shard {name!r}."
            raise InvalidInput(f"weights.{name}", weight, allowed, what=what)
        if not 0 <= weight <= MOST_WEIGHT:
            raise InvalidInput(f"weights.{name}", weight, f"a number from 0 to {MOST_WEIGHT:g}")
