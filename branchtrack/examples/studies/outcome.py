"""How large a study is, and what comes of it: plain values that know no process and no database."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from branchtrack.core.nonfinite import spelled


@dataclass(frozen=True)
class Plan:
    """How large a study is: its cases by name, its seeds, and the ``steps`` that every arm may use.

    ``every``: updates between two evaluations, which are also when a controller looks. ``options``
    are further values of a study's own.
    """

    cases: Mapping[str, Any]
    seeds: Sequence[int]
    steps: int
    every: int
    quick: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What was recorded of one arm with one seed, in one case.

    ``loss`` is that of held-out data which nothing was chosen by; NaN if it diverged. ``steps`` are
    all updates, those of abandoned branches too. ``seconds`` are those in which it was trained.
    ``curve`` has pairs of updates so far and held-out loss. ``run`` is RUN/BRANCH@STEP of its
    result, and ``runs`` are all of its runs. ``facts`` are further facts of the study's own; a
    ``note`` among them is shown with the arm, such as which model was asked.
    """

    arm: str
    case: str
    seed: int
    loss: float
    steps: int
    seconds: float
    interventions: int
    tokens: int
    curve: Sequence[tuple[float, float]]
    run: str
    runs: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def diverged(self) -> bool:
        """Whether its loss is no number."""
        return not math.isfinite(self.loss)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; NaN and the infinities are spelled as text."""
        values: dict[str, Any] = spelled(asdict(self))
        return values

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Outcome:
        """Return it as `as_dict` stored it."""
        curve = [(float(x), float(y)) for x, y in stored["curve"]]
        return cls(**{**stored, "loss": float(stored["loss"]), "curve": curve})
