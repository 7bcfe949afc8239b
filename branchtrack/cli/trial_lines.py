"""Trials and reviews as a terminal shows them, with the pairs as a drawing in characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from branchtrack.cli.output import echo, field_lines, print_table, state, styled
from branchtrack.cli.text_art import VERDICT_COLOURS
from branchtrack.core import formats

#: Columns of the drawing of the pairs.
_WIDTH = 49


def trial_lines(trial: dict[str, Any]) -> list[str]:
    """Return the lines of a trial, given as `analysis.trials.payloads.trial` returns it."""
    where = ", ".join(f"{node['id'][:8]} (step {node['step']})" for node in trial["nodes"])
    done = sum(_is_over(pair) for pair in trial["pairs"])
    fields = [
        ("trial", f"{styled(trial['id'], bold=True)} {state(trial['state'])}"),
        ("run", f"{trial['run']}, from {where}"),
        ("measure", f"{trial['metric']} after {formats.plural(trial['steps'], 'update')}"),
        (
            "trained",
            f"{done} of at most {formats.plural(trial['repeats'], 'pair')}, "
            f"{trial['trained_steps']:,} of at most {trial['most_steps']:,} updates",
        ),
    ]
    if trial["floor"]:
        fields.append(("floor", f"{formats.metric(trial['floor'])} at the same seed, unchanged"))
    if trial["error"]:
        fields.append(("why" if trial["state"] == "cancelled" else "error", trial["error"]))
    if trial["group"]:
        fields.append(("branches", f"group {trial['group']}"))
    lines = field_lines(fields)
    for number, change in enumerate(trial["changes"]):
        lines += ["", *change_lines(change), *drawing(trial, number)]
    return lines


def change_lines(change: dict[str, Any]) -> list[str]:
    """Return what is known of one change: verdict, effect and interval."""
    words = styled(change["words"], VERDICT_COLOURS.get(change["verdict"]), bold=True)
    lines = [f"{change['label']}: {words}"]
    if change["effect"] is not None:
        lines.append(f"  effect {effect_words(change)}, {formats.plural(change['pairs'], 'pair')}")
    if change["verdict"] != "pending" and change["effect"] is not None:
        lines.append(f"  margin {formats.metric(change['margin'])}: less than that does not matter")
    if change["why"]:
        lines.append(f"  {change['why']}")
    if change["more"]:
        more = formats.plural(change["more"], "repeat")
        lines.append(f"  about {more} more would settle it")
    return lines


def effect_words(change: dict[str, Any]) -> str:
    """Return an effect with its interval: ``-0.0051 (-0.0062 to -0.004, 97 %)``."""
    if change["effect"] is None:
        return ""
    words = formats.delta(change["effect"])
    if change["low"] is None:
        return words
    coverage = f", {formats.percent(change['coverage'])}" if "coverage" in change else ""
    return f"{words} ({formats.delta(change['low'])} to {formats.delta(change['high'])}{coverage})"


def drawing(trial: dict[str, Any], arm: int) -> list[str]:
    """Return the differences of the pairs of a change on one axis, and its interval under them."""
    change = trial["changes"][arm]
    rows = [(pair["number"], _difference(pair, arm)) for pair in trial["pairs"]]
    known = [value for _, value in rows if value is not None]
    if not known:
        return []
    ends = [v for v in (change["low"], change["high"]) if v is not None]
    low, high = min([0.0, *known, *ends]), max([0.0, *known, *ends])
    if low == high or not math.isfinite(high - low):
        return []
    lines = [f"  {'pair':>8}  {_marks([(0.0, '0')], low, high)}"]
    for number, value in rows:
        points = [(0.0, "┊")] if value is None else [(0.0, "┊"), (value, "●")]
        shown = "" if value is None else f"  {formats.delta(value)}"
        lines.append(f"  {number:>8}  {_marks(points, low, high)}{shown}".rstrip())
    if len(ends) == 2 and change["effect"] is not None:
        lines.append(f"  {'interval':>8}  {_interval(change, low, high)}".rstrip())
    return lines


def print_review(review: dict[str, Any]) -> None:
    """Print the changes of a run with their verdicts, and how many there are of each."""
    rows = [
        (
            row["node"][:8],
            formats.steps(row["step"]),
            row["branch"],
            row["text"],
            row["actor"],
            "" if row["effect"] is None else effect_words(row),
            styled(row["words"] or "not tried", VERDICT_COLOURS.get(row["verdict"] or "")),
        )
        for row in review["changes"]
    ]
    print_table(("node", "step", "branch", "change", "by", "effect", "verdict"), rows, right="l")
    for row in review["changes"]:
        if row["why"]:
            echo(f"  {row['node'][:8]}: {row['why']}")
    echo()
    echo(summary_words(review))


def summary_words(counts: dict[str, Any]) -> str:
    """Return ``3 helped, 1 hurt, 2 without effect, 1 inconclusive``."""
    parts = [
        f"{counts['helped']} helped",
        f"{counts['hurt']} hurt",
        f"{counts['none']} without effect",
        f"{counts['inconclusive']} inconclusive",
    ]
    others = (("pending", "still trained"), ("untried", "not tried"))
    return ", ".join([*parts, *(f"{counts[n]} {words}" for n, words in others if counts[n])])


def _is_over(pair: dict[str, Any]) -> bool:
    """Return whether all trainings of a pair have reached their end."""
    return all(side is None or side["state"] in ("done", "diverged") for side in pair["sides"])


def _difference(pair: dict[str, Any], arm: int) -> float | None:
    values = pair["values"]
    if len(values) <= arm + 1 or values[0] is None or values[arm + 1] is None:
        return None
    return float(values[arm + 1] - values[0])


def _column(value: float, low: float, high: float) -> int:
    return round((value - low) / (high - low) * (_WIDTH - 1))


def _marks(points: Sequence[tuple[float, str]], low: float, high: float) -> str:
    cells = [" "] * _WIDTH
    for value, mark in points:
        cells[_column(value, low, high)] = mark
    return "".join(cells)


def _interval(change: dict[str, Any], low: float, high: float) -> str:
    cells = list(_marks([(0.0, "┊")], low, high))
    first, last = (_column(change[name], low, high) for name in ("low", "high"))
    cells[first : last + 1] = "─" * (last - first + 1)
    cells[first], cells[last] = "├", "┤"
    cells[_column(change["effect"], low, high)] = "◆"
    return "".join(cells)
