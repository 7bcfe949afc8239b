"""What a study is: a question, the arms that answer it, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.outcome import Outcome, Plan

#: The case of an arm that is the same in every case.
ANY_CASE = ""


#: Returns the cell of a row, from all outcomes of a study and from those of the row.
Column = Callable[[Plan, Sequence[Outcome], Sequence[Outcome]], str]
#: Trains one arm: the laboratory, the name of the case, and the seed.
Train = Callable[[Laboratory, str, int], Outcome]


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
    #: Gigabytes that the checkpoints of a full one take.
    disk: float = 2.0
    services: Callable[[Laboratory], AbstractContextManager[Any]] = _no_services
    remarks: Callable[[Plan, Sequence[Outcome]], Sequence[str]] = lambda _plan, _outcomes: ()
    #: Further columns of its table: a header, and the cell of a row by all outcomes and the row's.
    columns: Sequence[tuple[str, Column]] = ()
    #: What is shown of an outcome: itself, or one for each of several cases.
    views: Callable[[Outcome], Sequence[Outcome]] = lambda outcome: (outcome,)
    #: Whether its plot shows the lowest loss so far, not the loss.
    is_lowest: bool = True
    #: Whether losses of its cases differ so much that each needs an axis of its own.
    has_own_axes: bool = False
    #: Its own picture as SVG, in place of one panel for each case.
    picture: Callable[[Plan, Sequence[Outcome]], str] | None = None
    #: What its number of ``steps`` is.
    budget: str = "updates for each arm"
    #: What the axes of its plot are.
    axes: tuple[str, str] = ("updates, abandoned ones too", "lowest held-out loss so far")

    def cells(self, plan: Plan) -> Iterator[Cell]:
        """Yield all trainings of the study, seed by seed, so that half a study has every arm."""
        for seed in plan.seeds:
            for arm in self.arms:
                for case in plan.cases if arm.per_case else [ANY_CASE]:
                    yield Cell(arm, case, seed)
