"""Trials as pages show them: verdicts in a few words, rows of tables, the picture of the pairs.

It works on records and payloads that were read, and makes no query.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from branchtrack.analysis.trials.sentences import effect_words
from branchtrack.core import formats
from branchtrack.core.trials.judging import HELPS, HURTS, INCONCLUSIVE, PENDING, Verdict
from branchtrack.core.trials.outcomes import standing
from branchtrack.core.trials.records import CANCELLED_SIDE, RUNNING, SAME, Trial, TrialHead
from branchtrack.web.svg import pairs
from branchtrack.web.svg.pairs import Interval, PairMark

#: How verdicts look: the states of a chip. Those that say nothing are grey.
STYLES = {HELPS: "held", HURTS: "failed", INCONCLUSIVE: "waiting", PENDING: "changed"}
#: The colours of what is better, worse and unclear.
_COLOURS = {HELPS: "down", HURTS: "bad", INCONCLUSIVE: "up"}
_NOTES = {"diverged": "diverged", "failed": "failed", "ordered": "not yet"}


@dataclass(frozen=True)
class TrialLine:
    """A change that was tried, and what came of it; ``pairs`` are those that were complete.

    ``words`` are the verdict's, or the state's of a trial without one.
    """

    trial: TrialHead
    label: str
    verdict: str
    words: str
    effect: float | None
    low: float | None
    high: float | None
    pairs: int

    @property
    def id(self) -> str:
        """Return the id of the trial."""
        return self.trial.id

    @property
    def style(self) -> str:
        """Return the state of a chip that looks like the verdict."""
        return STYLES.get(self.verdict, "none")

    @property
    def text(self) -> str:
        """Return the verdict with the effect: ``helps −0.005``."""
        return " ".join([self.words, *self._effect])

    @property
    def sentence(self) -> str:
        """Return all in a line: ``lr=x0.9: helps, −0.005, 8 pairs``."""
        count = formats.plural(self.pairs, "pair")
        if self.verdict == PENDING:
            count = f"{self.pairs} of at most {formats.plural(self.trial.spec.repeats, 'pair')}"
        return f"{self.label}: {', '.join([self.words, *self._effect, count])}"

    @property
    def _effect(self) -> list[str]:
        return [] if self.effect is None else formats.deltas([self.effect], 2)

    @property
    def interval(self) -> str:
        """Return the effect with its interval: ``−0.005 (−0.006 to −0.004)``."""
        return effect_words(self.effect, self.low, self.high)


@dataclass(frozen=True)
class Tried:
    """The trials of a run, by the groups of their branches and by the nodes of their changes."""

    by_group: Mapping[str, Sequence[TrialLine]] = field(default_factory=dict)
    by_node: Mapping[str, TrialLine] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[TrialHead]) -> Tried:
        """Return the trials, oldest first, by group and node; of a node's change what stands."""
        listed = list(records)
        return cls(
            {record.group_id: lines(record) for record in listed if record.group_id},
            {node: lines(record)[0] for node, record in standing(listed).items()},
        )


def lines(record: TrialHead) -> list[TrialLine]:
    """Return a line for each change of a trial."""
    return [_line(record, arm) for arm in range(len(record.spec.arms))]


def _line(record: TrialHead, arm: int) -> TrialLine:
    verdict: Verdict | None = record.verdicts[arm]
    label = record.spec.arms[arm].label
    if verdict is not None:
        facts = (verdict.effect, verdict.low, verdict.high, verdict.pairs)
        return TrialLine(record, label, verdict.verdict, verdict.words, *facts)
    pairs_so_far = record.pairs if isinstance(record, Trial) else ()
    done = sum(pair.difference(arm) is not None for pair in pairs_so_far)
    words = PENDING if record.state == RUNNING else record.state
    return TrialLine(record, label, words, words, None, None, None, done)


@dataclass(frozen=True)
class SideCell:
    """One training of a pair: its value or what there is instead, and its branch if it exists."""

    value: float | None
    note: str
    error: str
    branch: str
    launch: str


@dataclass(frozen=True)
class PairRow:
    """A pair as one change sees it; ``difference`` is None until both trainings have a value,
    ``is_complete`` says whether both have ended. ``text`` is what is read beside the others."""

    number: int
    node: str
    step: int
    seed: int | None
    control: SideCell | None
    changed: SideCell | None
    difference: float | None
    is_complete: bool = False
    text: str = ""

    @property
    def note(self) -> str:
        """Return why there is no difference, in a few words."""
        for side, words in ((self.changed, "with the change"), (self.control, "without it")):
            if side is not None and side.note in ("diverged", "failed"):
                return f"{side.note} {words}"
        if self.changed is None:
            return ""
        notes = [side.note for side in (self.changed, self.control) if side is not None]
        return "cancelled" if "cancelled" in notes else "not yet"


def pair_rows(record: Trial, arm: int, branches: Mapping[str, str]) -> list[PairRow]:
    """Return the pairs of a change; ``branches`` are the names of those that exist, by id."""
    rows = []
    for pair in record.pairs:
        control, changed = (
            None
            if side is None
            else SideCell(
                side.value,
                "cancelled" if side.error == CANCELLED_SIDE else _NOTES.get(side.state, ""),
                "" if side.error == CANCELLED_SIDE else side.error,
                branches.get(side.branch_id, ""),
                side.launch,
            )
            for side in (pair.sides[0], pair.sides[arm + 1])
        )
        difference = pair.difference(arm)
        value = None if difference is None else difference.value
        facts = (pair.number, pair.node, pair.step, pair.seed, control, changed, value)
        rows.append(PairRow(*facts, is_complete=difference is not None))
    texts = formats.deltas([row.difference for row in rows])
    return [
        replace(row, text=row.note if row.difference is None else text)
        for row, text in zip(rows, texts, strict=True)
    ]


def done_pairs(rows: Iterable[PairRow]) -> int:
    """Return how many pairs have come to their end."""
    return sum(row.is_complete for row in rows)


def picture(
    number: int, change: Mapping[str, Any], rows: Sequence[PairRow], higher: bool
) -> Markup:
    """Return the drawing of a change's pairs, given as `analysis.trials.payloads` has it.

    ``number`` counts the drawings of a page; ``higher``: a higher value is the better one.
    """
    shown = [row for row in rows if row.changed is not None]
    marks = [PairMark(str(row.number), row.difference, row.text, _title(row)) for row in shown]
    words = [f"{change['label']}: {change['words']}"]
    if effect := effect_words(change["effect"], change["low"], change["high"]):
        words.append(f"effect {effect}")
    known = [row.difference for row in shown if row.difference is not None]
    if known:
        span = " to ".join(formats.deltas([min(known), max(known)]))
        words.append(f"{formats.plural(len(known), 'pair')} from {span}")
    return pairs.render_pairs(
        marks,
        Interval(change["low"], change["effect"], change["high"]),
        change["margin"],
        higher_is_better=higher,
        colour=_COLOURS.get(change["verdict"], "muted"),
        name=f"pairs-{number}",
        title=f"Differences of the pairs, {change['label']}",
        description="; ".join(words),
    )


def _title(row: PairRow) -> str:
    values = [
        formats.metric(side.value) if side is not None and side.value is not None else "no value"
        for side in (row.control, row.changed)
    ]
    return f"pair {row.number}: {values[0]} → {values[1]}: {row.text}"


def more_repeats(record: Trial, most: int) -> dict[str, str]:
    """Return the fields of an order of the same trial with more repeats, of ``most`` at most."""
    spec = record.spec
    missing = [verdict.more for verdict in record.verdicts if verdict and verdict.more]
    repeats = spec.repeats + max(missing) if missing else 2 * spec.repeats
    fields = {
        "steps": str(spec.steps),
        "repeats": str(min(most, max(repeats, spec.repeats + 1))),
        "metric": spec.metric,
        "margin": "" if spec.margin is None else repr(spec.margin),
        "at": ", ".join(spec.nodes[1:]),
    }
    if record.kind == SAME:
        fields["same"] = "1"
    elif record.subject:
        fields["intervention"] = "1"
    else:
        fields["settings"] = "\n".join(_setting_lines(record))
    return {name: text for name, text in fields.items() if text}


def _setting_lines(record: Trial) -> list[str]:
    """Return the settings whose combinations were the changes of a trial, one a line."""
    values: dict[str, dict[str, None]] = {}
    for arm in record.spec.arms:
        for name, value in arm.settings.items():
            values.setdefault(name, {})[formats.exact_setting(value)] = None
    return [f"{name}={','.join(listed)}" for name, listed in values.items()]
