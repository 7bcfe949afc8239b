"""What a study is, and what comes of it: plain values that know no process and no database."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from branchtrack.core.nonfinite import spelled

if TYPE_CHECKING:
    from branchtrack.examples.studies.laboratory import Laboratory

#: The case of an arm that is the same in every case.
ANY_CASE = ""


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
    ``curve`` has pairs of updates so far and held-out loss. ``run`` is RUN/BRANCH of its end, and
    ``runs`` are all of its runs. ``facts`` are further facts of the study's own; a ``note`` among
    them is shown with the arm, such as which model was asked.
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


#: Returns the cell of a row, from all outcomes of a study and from those of the row.
Column = Callable[[Plan, Sequence[Outcome], Sequence[Outcome]], str]
#: Trains one arm: the laboratory, the name of the case, and the seed.
Train = Callable[["Laboratory", str, int], Outcome]


@dataclass(frozen=True)
class Arm:
    """One way to train; ``per_case`` is false if it does the same in every case."""

    name: str
    about: str
    train: Train
    per_case: bool = True


@dataclass(frozen=True)
class Cell:
    """One training of a study: an arm with a seed, in a case."""

    arm: Arm
    case: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its file and its run."""
        return "-".join(filter(None, [self.arm.name, self.case, f"s{self.seed}"])).replace(" ", "_")

    def words(self) -> str:
        """Return it as a person reads it."""
        return ", ".join(filter(None, [self.arm.name, self.case, f"seed {self.seed}"]))


def _no_services(_laboratory: Laboratory) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass(frozen=True)
class Study:
    """A question, and the arms that answer it.

    ``plan`` returns how large it is: quick or not, with so many seeds (None: its own number).
    ``expected``: minutes of a quick and of a full one on two cores. ``services``: what its
    trainings need while they last. ``remarks``: sentences that its section ends with.
    """

    name: str
    title: str
    question: str
    arms: Sequence[Arm]
    plan: Callable[[bool, int | None], Plan]
    expected: tuple[float, float]
    services: Callable[[Laboratory], AbstractContextManager[Any]] = _no_services
    remarks: Callable[[Plan, Sequence[Outcome]], Sequence[str]] = lambda _plan, _outcomes: ()
    #: Further columns of its table: a header, and the cell of a row by all outcomes and the row's.
    columns: Sequence[tuple[str, Column]] = ()
    #: What is shown of an outcome: itself, or one for each of several cases.
    views: Callable[[Outcome], Sequence[Outcome]] = lambda outcome: (outcome,)
    #: Whether its plot shows the lowest loss so far, not the loss.
    is_lowest: bool = True
    #: Whether losses of its cases differ so much that only a logarithmic axis shows them all.
    is_logarithmic: bool = False
    #: What the axes of its plot are.
    axes: tuple[str, str] = ("updates, abandoned ones too", "lowest held-out loss so far")

    def cells(self, plan: Plan) -> Iterator[Cell]:
        """Yield all trainings of the study, seed by seed, so that half a study has every arm."""
        for seed in plan.seeds:
            for arm in self.arms:
                for case in plan.cases if arm.per_case else [ANY_CASE]:
                    yield Cell(arm, case, seed)
