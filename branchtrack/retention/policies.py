"""Policies of retention: how they are spelled, checked, stored and put into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from branchtrack.core.queries.directions import is_higher_better
from branchtrack.errors import InvalidInput

KEEPS = ("all", "thin", "heads")
_LARGEST = 10**9


@dataclass(frozen=True)
class Best:
    """The ``count`` nodes of a run with the best values of ``metric``; ``mode``: min or max."""

    metric: str
    count: int
    mode: str


@dataclass(frozen=True)
class Policy:
    """What stays of a run's checkpoints.

    With ``keep`` ``all`` nothing is thinned, except by ``drop_optimizer_after``; with ``thin`` and
    ``heads`` all is that is not protected. ``last``: so many newest nodes of each branch stay;
    ``every``: nodes at multiples of that step stay; ``drop_optimizer_after``: of nodes that many
    steps before the head of their branch at most the weights stay, unless the tree needs them.
    """

    keep: str = "all"
    last: int | None = None
    best: Best | None = None
    every: int | None = None
    drop_optimizer_after: int | None = None

    def as_json(self) -> dict[str, Any] | None:
        """Return the form that a run stores; None for the policy that keeps everything."""
        return (
            None if self == Policy() else {k: v for k, v in asdict(self).items() if v is not None}
        )

    @property
    def words(self) -> str:
        """Describe the policy in one line."""
        parts = [f"keep {self.keep}"]
        parts += [f"the last {self.last} of each branch"] if self.last else []
        if self.best is not None:
            way = "highest" if self.best.mode == "max" else "lowest"
            parts.append(f"the {self.best.count} with the {way} {self.best.metric}")
        parts += [f"every {self.every} steps"] if self.every else []
        if self.drop_optimizer_after is not None:
            parts.append(f"no optimizer state {self.drop_optimizer_after} steps before a head")
        return ", ".join(parts)


def from_json(value: dict[str, Any] | None) -> Policy:
    """Return the policy that a run stores."""
    if not value:
        return Policy()
    best = value.get("best")
    return Policy(**{**value, "best": None if best is None else Best(**best)})


def policy(
    keep: str | None,
    *,
    last: Any = None,
    best: Sequence[Any] | None = None,
    every: Any = None,
    drop_optimizer_after: Any = None,
) -> Policy:
    """Return the policy that options or form fields spell; ``best`` is a metric and a count.

    A metric may end with ``:min`` or ``:max``; without it the lowest values are the best, unless
    its name is that of a rate of success.

    Raises:
        InvalidInput: names the field.
    """
    if keep not in KEEPS:
        raise InvalidInput("keep", keep, ", ".join(KEEPS))
    return Policy(
        keep,
        _count("keep-last", last),
        _best(best) if best is not None else None,
        _count("every", every),
        _count("drop-optimizer-after", drop_optimizer_after),
    )


def _best(value: Sequence[Any]) -> Best:
    metric, count = value
    name, _, mode = str(metric).rpartition(":")
    if not name or mode not in ("min", "max"):
        name, mode = str(metric), "max" if is_higher_better(str(metric)) else "min"
    if not name.strip():
        raise InvalidInput("keep-best", metric, "the name of a metric, and a count")
    number = _count("keep-best", count)
    assert number is not None
    return Best(name, number, mode)


def _count(field: str, value: Any) -> int | None:
    """Return a whole number from 1 on, also as text; None if there is none."""
    if value is None:
        return None
    text = str(value).strip()
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
    if isinstance(value, bool) or not 0 < number <= _LARGEST:
        raise InvalidInput(field, value, "a whole number from 1 on")
    return number
