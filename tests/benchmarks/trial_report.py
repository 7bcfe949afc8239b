"""What `bench_trials` measured, as numbers, tables and a picture. It trains nothing."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from branchtrack.core.trials.judging import INCONCLUSIVE, NONE, Verdict
from tests.benchmarks import trial_picture
from tests.benchmarks.trial_tasks import End
from tests.benchmarks.trial_verdicts import (
    STANDS,
    Rate,
    Runs,
    Truth,
    agreement,
    conduct,
    is_false,
    runs_needed,
    truth_of,
)

#: Trials made of each node's forks, paired anew at random, and of normal noise.
_ANEW, _NORMAL = 2000, 6000
_MARGINS = {"margin 0": 0.0, "default margin": None}


@dataclass(frozen=True)
class Effect:
    """A change of a task: the truth, what one trial says, how they agree, the runs needed.

    ``loss`` is the mean held-out loss of the independent controls. ``further`` is how the verdicts
    of other trials from the same node agree, of pairs that the first one does not have, and
    ``independent`` is the same of trials whose pairs are independent trainings.
    """

    task: str
    change: str
    loss: float
    truth: Truth
    verdict: Verdict
    agreement: str
    runs: Runs
    further: tuple[str, ...] = ()
    independent: tuple[str, ...] = ()


Rows = Sequence[Sequence[End]]


def write(measured: dict[str, Any], folder: Path) -> str:
    """Write ``trials.md``, ``trials.json`` and ``trials.svg``; return the tables."""
    effects = effects_of(measured)
    rates = false_rates(measured)
    text = "\n\n".join(
        [
            _false_table(rates),
            _same_table(measured),
            _effect_table(effects),
            _stand_table(effects),
            _runs_table(effects),
        ]
    )
    facts = {
        "false": {name: {**asdict(rate), "share": rate.share} for name, rate in rates.items()},
        "effects": [{**asdict(e), "ratio": e.runs.ratio} for e in effects],
    }
    (folder / "trials.md").write_text(text + "\n", encoding="utf-8")
    (folder / "trials.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (folder / "trials.svg").write_text(trial_picture.svg(effects), encoding="utf-8")
    return text


def ends(rows: Iterable[Iterable[dict[str, Any]]]) -> list[list[End]]:
    """Return pairs as they were stored."""
    return [[End(**end) for end in row] for row in rows]


def false_rates(measured: dict[str, Any]) -> dict[str, Rate]:
    """Return how often changes of nothing got a false verdict, by rule, task and kind of trials."""
    real: dict[str, list[tuple[str, Rows]]] = {"": [], ", paired anew": []}
    for number, node in enumerate(measured["none"]):
        trials = [ends(trial) for trial in node["trials"]]
        real[""] += [(node["task"], trial) for trial in trials]
        real[", paired anew"] += [(node["task"], trial) for trial in anew(trials, _ANEW, number)]
    rates = {}
    for kind, trials in real.items():
        names = [*dict.fromkeys(task for task, _ in trials)]
        chosen = {name: [rows for task, rows in trials if task == name] for name in names}
        if not kind:
            rates |= {f"one run is lower, {name}": keeps(rows) for name, rows in chosen.items()}
            rates["one run is lower"] = keeps([rows for _, rows in trials])
        for word, margin in _MARGINS.items():
            verdicts = {
                name: [conduct(rows, ["nothing"], margin=margin)[0] for rows in every]
                for name, every in chosen.items()
            }
            rates |= {
                f"{word}{kind}, {name}": Rate(sum(map(is_false, v)), len(v))
                for name, v in verdicts.items()
            }
            whole = [verdict for every in verdicts.values() for verdict in every]
            rates[f"{word}{kind}"] = Rate(sum(map(is_false, whole)), len(whole))
            for other in (NONE, INCONCLUSIVE):
                count = sum(verdict.verdict == other for verdict in whole)
                rates[f"{word}{kind}: {other}"] = Rate(count, len(whole))
    normal = (conduct(rows, ["nothing"], margin=0.0)[0] for rows in of_noise(_NORMAL))
    rates["normal noise"] = Rate(sum(map(is_false, normal)), _NORMAL)
    return rates


def of_noise(count: int) -> Iterator[Rows]:
    """Yield trials of eight pairs whose ends are normal noise alone."""
    for rows in np.random.default_rng(5).standard_normal((count, 8, 2)):
        yield [(End(2 + first), End(2 + second)) for first, second in rows.tolist()]


def keeps(trials: Sequence[Rows]) -> Rate:
    """Return how often the first run with a change is better than the first without it."""
    values = [(trial[0][0].value, trial[0][1].value) for trial in trials]
    lower = sum(None not in (a, b) and (b or 0.0) < (a or 0.0) for a, b in values)
    return Rate(lower, len(values))


def anew(trials: Sequence[Rows], count: int, seed: int) -> list[Rows]:
    """Return so many trials of the same size, of ends drawn from all of these at random."""
    chance = np.random.default_rng(seed)
    whole = [end for trial in trials for row in trial for end in row]
    repeats = len(trials[0])
    drawn = (chance.permutation(len(whole))[: 2 * repeats] for _ in range(count))
    return [[(whole[a], whole[b]) for a, b in indices.reshape(-1, 2)] for indices in drawn]


def effects_of(measured: dict[str, Any]) -> list[Effect]:
    """Return what each change did on each task, and what one trial says of it."""
    labels, repeats = list(measured["size"]["changes"]), measured["size"]["repeats"]
    effects = []
    for task, values in measured["effects"].items():
        forks = ends(values["forks"])
        verdicts, *others = in_turn(forks, repeats, labels)
        scratch = [[End(value) for value in row] for row in values["scratch"]]
        without_forks = in_turn(scratch, repeats, labels)
        controls = [row[0] for row in values["scratch"]]
        loss = statistics.mean(value for value in controls if value is not None)
        for number, label in enumerate(labels):
            truth = truth_of(controls, [row[number + 1] for row in values["scratch"]])
            first = [row[0].value for row in forks]
            second = [row[number + 1].value for row in forks]
            runs = runs_needed(truth, first, second)
            verdict = verdicts[number]
            stand, *further = (agreement(v[number], truth) for v in (verdicts, *others))
            lone = tuple(agreement(v[number], truth) for v in without_forks)
            effects.append(
                Effect(task, label, loss, truth, verdict, stand, runs, tuple(further), lone)
            )
    return effects


def in_turn(rows: Rows, repeats: int, labels: Sequence[str]) -> list[list[Verdict]]:
    """Return the verdicts of one trial after another, each of the next pairs."""
    starts = range(0, len(rows) - repeats + 1, repeats)
    return [conduct(rows[start : start + repeats], labels) for start in starts]


def table(*rows: Sequence[str]) -> str:
    """Return rows as a table in Markdown, the first as its head."""
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "| --- " * len(rows[0]) + "|", *body])


def _false_table(rates: dict[str, Rate]) -> str:
    """Return the table of `false_rates`: a row for each rule, a column for each task."""
    anew_rules = [f"{word}, paired anew" for word in _MARGINS]
    rules = [*_MARGINS, *anew_rules, "one run is lower"]
    tasks = [name.rpartition(", ")[2] for name in rates if name.startswith("one run is lower,")]
    rows = [("false", *tasks, "all", "share", "95 % interval", "no effect shown", "inconclusive")]
    for rule in rules:
        whole = rates[rule]
        low, high = whole.interval
        others = [rates.get(f"{rule}: {verdict}") for verdict in (NONE, INCONCLUSIVE)]
        cells = [f"{rate.count} of {rate.all}" for rate in (rates[f"{rule}, {t}"] for t in tasks)]
        cells += [f"{whole.count} of {whole.all}", f"{whole.share:.1%}"]
        # Trials that are paired anew share their ends: their interval is not that of a binomial.
        cells.append("" if rule in anew_rules else f"{low:.1%} to {high:.1%}")
        rows.append((rule, *cells, *("" if rate is None else str(rate.count) for rate in others)))
    noise = rates["normal noise"]
    share = (f"{noise.count} of {noise.all}", f"{noise.share:.1%}")
    return table(*rows, ("normal noise, margin 0", *("" for _ in tasks), *share, "", "", ""))


def _same_table(measured: dict[str, Any]) -> str:
    rows = [("task", "pairs with one seed", "largest difference", "same state", "ms a fork")]
    for task in dict.fromkeys(node["task"] for node in measured["none"]):
        of_task = [node for node in measured["none"] if node["task"] == task]
        pairs = [pair for node in of_task for pair in ends([*node["same"], node["plain"]])]
        largest = max(abs((b.value or 0.0) - (a.value or 0.0)) for a, b in pairs)
        same = sum(a.digest == b.digest for a, b in pairs)
        speed = f"{statistics.median(node['seconds'] for node in of_task) * 1e3:.0f}"
        rows.append((task, str(len(pairs)), f"{largest:g}", str(same), speed))
    return table(*rows)


def _effect_table(effects: Sequence[Effect]) -> str:
    rows = [("task", "change", "truth", "one trial", "pairs", "verdict", "and the truth")]
    for e in effects:
        v = e.verdict
        rows.append(
            (
                e.task,
                e.change,
                _interval(e.truth.effect, e.truth.low, e.truth.high),
                _interval(v.effect, v.low, v.high),
                str(v.pairs),
                v.words,
                e.agreement,
            )
        )
    return table(*rows)


def _interval(effect: float | None, low: float | None, high: float | None) -> str:
    if effect is None or low is None or high is None:
        return ""
    return f"{effect:+.4f} ({low:+.4f} to {high:+.4f})"


def _stand_table(effects: Sequence[Effect]) -> str:
    first = Counter(effect.agreement for effect in effects)
    further = Counter(stand for effect in effects for stand in effect.further)
    lone = Counter(stand for effect in effects for stand in effect.independent)
    counts = (first, further, lone)
    rows = [
        (stand, *(f"{count[stand]} of {count.total()}" for count in counts)) for stand in STANDS
    ]
    head = ("verdict and truth", "the trials above", "further trials", "independent pairs instead")
    return table(head, *rows)


def _runs_table(effects: Sequence[Effect]) -> str:
    spread = ("independent", "forks, other seeds", "forks, one seed")
    rows: list[Sequence[str]] = [("task", "change", *spread, "fewer pairs")]
    for e in effects:
        r = e.runs
        spreads = (f"{value:.4f}" for value in (r.independent, r.unpaired, r.paired))
        rows.append((e.task, e.change, *spreads, f"{r.ratio:.1f} times"))
    return table(*rows)
