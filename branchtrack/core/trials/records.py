"""A trial as it is stored: what it asks, its pairs, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from branchtrack.core.trials.judging import Difference, Verdict

#: The kinds of a trial: of changes, or of nothing, which shows what is not restored exactly.
CHANGE, SAME = "trial", "aa"
KINDS = (CHANGE, SAME)
RUNNING, SETTLED, CANCELLED, FAILED = "running", "settled", "cancelled", "failed"
STATES = (RUNNING, SETTLED, CANCELLED, FAILED)
#: The states of one side of a pair; the last three are final.
ORDERED, DONE, DIVERGED, LOST = "ordered", "done", "diverged", "failed"
#: Why a side is lost whose trial was cancelled.
CANCELLED_SIDE = "Cancelled."
#: The kind of the group that a trial's branches belong to.
GROUP = "trial"


@dataclass(frozen=True)
class Arm:
    """One change that is tried: settings as a resume takes them, and how people read them."""

    label: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """What a trial asks.

    Each pair begins at one of ``nodes`` (ids) in turn and trains ``steps`` updates, once with the
    settings of ``control`` and once with those of each arm; ``metric`` at the end is compared. A
    trial of at most ``repeats`` pairs is judged ``at`` some numbers of them, at the ``levels`` that
    belong to these. ``margin`` is None for 0.1 % of the controls; ``floor`` as in `judging.judge`.
    ``is_reseeded``: the pairs differ in what is drawn after the node. ``command`` is what is
    started if it is not the run's own; ``priority`` and ``labels`` are those of the launches.
    ``checks_code``: it fails if code or packages change before it is over. ``launcher`` is that of
    the launches.
    """

    nodes: tuple[str, ...]
    arms: tuple[Arm, ...]
    metric: str
    steps: int
    repeats: int
    at: tuple[int, ...]
    levels: tuple[float, ...]
    higher_is_better: bool = False
    control: dict[str, Any] = field(default_factory=dict)
    margin: float | None = None
    floor: float = 0.0
    is_reseeded: bool = True
    command: dict[str, Any] | None = None
    priority: int | None = None
    labels: list[str] | None = None
    checks_code: bool = False
    launcher: dict[str, Any] | None = None

    @property
    def most_steps(self) -> int:
        """The updates that it trains at most."""
        return self.repeats * (1 + len(self.arms)) * self.steps

    def level(self, pairs: int) -> float:
        """Return the level at which so many pairs are judged: that of the last look among them."""
        reached = [level for at, level in zip(self.at, self.levels, strict=True) if at <= pairs]
        return reached[-1] if reached else self.levels[0]

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Spec:
        """Return it as `asdict` and JSON stored it."""
        lists = {name: tuple(stored[name]) for name in ("nodes", "at", "levels")}
        return cls(**{**stored, **lists, "arms": tuple(Arm(**arm) for arm in stored["arms"])})


@dataclass(frozen=True)
class Side:
    """One training of a pair: its launch and branch, and what the metric was at its end.

    ``digest`` is of the weights that it ended in. ``attempts`` counts the launches so far.
    """

    launch: str
    branch_id: str
    branch: str
    state: str = ORDERED
    value: float | None = None
    digest: str = ""
    attempts: int = 1
    error: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is expected of it."""
        return self.state != ORDERED


@dataclass(frozen=True)
class Pair:
    """The control (first) and the side of each arm, from one node with one seed.

    A side is None for an arm that was settled before. ``seed`` is None where nothing is drawn anew.
    """

    number: int
    node: str
    step: int
    seed: int | None
    sides: tuple[Side | None, ...]

    @property
    def is_over(self) -> bool:
        """Whether all of its trainings have ended."""
        return all(side is None or side.is_over for side in self.sides)

    def difference(self, arm: int) -> Difference | None:
        """Return what an arm, counted from 0, shows; None if either side is missing or failed."""
        control, changed = self.sides[0], self.sides[arm + 1]
        sides = (control, changed)
        if any(side is None or side.state not in (DONE, DIVERGED) for side in sides):
            return None
        assert control is not None and changed is not None
        same = bool(control.digest) and control.digest == changed.digest
        return Difference(control.value, changed.value, same)

    def with_side(self, index: int, side: Side) -> Pair:
        """Return it with another side."""
        sides = [*self.sides]
        sides[index] = side
        return replace(self, sides=tuple(sides))

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Pair:
        """Return it as `asdict` and JSON stored it."""
        sides = tuple(None if side is None else Side(**side) for side in stored["sides"])
        return cls(**{**stored, "sides": sides})


@dataclass(frozen=True, kw_only=True)
class TrialHead:
    """A trial of a run without its pairs: what lists of trials show once they are over.

    ``subject`` is the intervention node whose change is tried, if it is one of a review.
    ``verdicts`` has one for each arm once there is one; an arm with one is not trained on.
    """

    id: str
    run_id: str
    group_id: str | None
    kind: str
    subject: str | None
    spec: Spec
    state: str
    verdicts: tuple[Verdict | None, ...]
    error: str
    actor: str
    reason: str
    created_at: float
    updated_at: float

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> TrialHead:
        """Return it from its row; the row may have pairs."""
        return cls(**_facts(row))


@dataclass(frozen=True, kw_only=True)
class Trial(TrialHead):
    """A trial of a run, as a row."""

    pairs: tuple[Pair, ...]

    @property
    def floor(self) -> float | None:
        """The largest difference at the same seed, of a trial in which nothing was changed."""
        if self.kind != SAME:
            return None
        values = [d.value for d in differences(self.pairs, 0) if d.value is not None]
        return max(map(abs, values), default=None)

    @property
    def side_words(self) -> list[str]:
        """What the sides of its pairs are called, the control first."""
        if self.kind == SAME:
            return ["control", "again"]
        if len(self.spec.arms) == 1:
            return ["control", "changed"]
        return ["control", *(arm.label for arm in self.spec.arms)]

    @property
    def trained_steps(self) -> int:
        """The updates of the sides that have reached their end."""
        sides = [side for pair in self.pairs for side in pair.sides if side is not None]
        return self.spec.steps * sum(side.state in (DONE, DIVERGED) for side in sides)

    def row(self) -> dict[str, Any]:
        """Return the columns of its row."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["spec"] = asdict(self.spec)
        values["pairs"] = [asdict(pair) for pair in self.pairs]
        values["verdicts"] = [v if v is None else v.as_dict() for v in self.verdicts]
        return values

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Trial:
        """Return it from its row."""
        return cls(**_facts(row), pairs=tuple(map(Pair.read, row["pairs"])))


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row says but for the pairs."""
    verdicts = tuple(v if v is None else Verdict(**v) for v in row["verdicts"])
    facts = {**row, "spec": Spec.read(row["spec"]), "verdicts": verdicts}
    del facts["pairs"]
    return facts


def differences(pairs: Iterable[Pair], arm: int) -> list[Difference]:
    """Return the differences of an arm over the pairs that have one, in the order of the pairs.

    Pairs of one node that drew the same, and so ended with the same values, count as one.
    """
    distinct: dict[tuple[Any, ...], Difference] = {}
    for pair in pairs:
        difference = pair.difference(arm)
        if difference is None:
            continue
        control, changed = pair.sides[0], pair.sides[arm + 1]
        assert control is not None and changed is not None
        states = (control.digest, changed.digest) if control.digest else (pair.number,)
        distinct.setdefault((pair.node, *states), difference)
    return list(distinct.values())
