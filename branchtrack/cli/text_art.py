"""Drawings in characters: a run's tree with its lanes, and a curve.

It computes lines of text from plain values; it must not know the database.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from branchtrack.cli.output import BRANCH_COLOURS, changes, pad, state, styled, visible, width_of
from branchtrack.core import exactness, formats, saves
from branchtrack.core.tree import Row, lanes

#: The mark of each kind of node.
MARKS = {
    "root": "○",
    "checkpoint": "●",
    "intervention": "◆",
    "fork": "◇",
    "final": "■",
    "merge": "◈",
}
#: The colours of a branch's certificate, by its verdict.
CERTIFICATE_COLOURS = {"exact": "green", "differs": "red"}
#: The colours of verdicts of trials.
VERDICT_COLOURS = {"helps": "green", "hurts": "red", "inconclusive": "yellow"}
_LOSSES = ("eval_loss", "loss", "train_loss")
#: The dots of a braille character, by column and row, as offsets from U+2800.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def tree_lines(tree: dict[str, Any]) -> list[str]:
    """Return the lines of a tree, given as `payloads.tree` returns it: branches, then nodes."""
    names = [branch["name"] for branch in tree["branches"]]
    tried = trial_lines_of(tree)
    colours = {name: BRANCH_COLOURS[i % len(BRANCH_COLOURS)] for i, name in enumerate(names)}
    lines = [_branch_line(branch, colours) for branch in tree["branches"]]
    newest_first = tree["nodes"][::-1]
    rows = lanes([(node["id"], node["parent"]) for node in newest_first])
    owners = _owners(rows, newest_first)
    gutters = [
        _gutter(row, node, owners[row.node], colours)
        for row, node in zip(rows, newest_first, strict=True)
    ]
    cells = [
        [gutter, *_cells(node, colours)] for gutter, node in zip(gutters, newest_first, strict=True)
    ]
    lines += tried
    return [*lines, "", *_aligned(cells)] if cells else [*lines, "", "No nodes yet."]


def folded(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a tree without the branches of its trials; one that others grew from stays."""
    groups = {line["group"] for line in tree["trials"] if line["group"]}
    hidden = {branch["name"] for branch in tree["branches"] if branch["group"] in groups}
    owners = {node["id"]: node["branch"] for node in tree["nodes"]}
    grown = [b for b in tree["branches"] if b["name"] not in hidden and b["forked_from"]]
    for branch in grown:
        owner = owners.get(branch["forked_from"])
        while owner in hidden:
            hidden.discard(owner)
            start = next(b["forked_from"] for b in tree["branches"] if b["name"] == owner)
            owner = owners.get(start or "")
    return {
        **tree,
        "steps": {node["id"]: node["step"] for node in tree["nodes"]},
        "branches": [branch for branch in tree["branches"] if branch["name"] not in hidden],
        "nodes": [node for node in tree["nodes"] if node["branch"] not in hidden],
    }


def trial_lines_of(tree: dict[str, Any]) -> list[str]:
    """Return a line for each change that was tried in a tree."""
    known = tree.get("steps") or {node["id"]: node["step"] for node in tree["nodes"]}
    steps = {node: formats.steps(step) for node, step in known.items()}
    lines = []
    for line in tree["trials"]:
        where = ", ".join(sorted({steps.get(node, "?") for node in line["nodes"]}, key=len))
        words = f"{verdict_words(line)}, {formats.plural(line['pairs'], 'pair')}"
        name = styled(f"trial {line['trial'][:8]}", dim=True)
        lines.append(f"  {name}: {visible(line['label'])} at step {where}: {words}")
    return lines


def _branch_line(branch: dict[str, Any], colours: dict[str, str]) -> str:
    steps = f"step {formats.steps(branch['step'])}"
    steps += f" of {formats.steps(branch['max_steps'])}" if branch["max_steps"] else ""
    origin = f", from node {branch['forked_from'][:8]}" if branch["forked_from"] else ""
    name = styled(branch["name"], colours[branch["name"]])
    gone = {True: " (its process is gone)", False: " (its process is silent)", None: ""}
    name += styled(f" (group {branch['group']})", dim=True) if branch["group"] else ""
    status = f"{state(branch.get('shown', branch['status']))}{gone[branch['gone']]}"
    status += f" ({visible(branch['where'])})" if branch["where"] else ""
    summary = f"  {name}: {status}, {steps}{origin}"
    return summary + _certified(branch["certificate"]) + _missed(branch["saves"]) + _reason(branch)


def _missed(count: dict[str, Any] | None) -> str:
    """Say how many saves were not made, and at which steps, listing the first ones."""
    words = saves.words(count)
    if count is None or not words:
        return ""
    steps = ", ".join(map(str, count["missed"][:5]))
    steps += f" and {len(count['missed']) - 5} more" if len(count["missed"]) > 5 else ""
    return f", {styled(words, 'red')} (due at step {steps})"


def _reason(branch: dict[str, Any]) -> str:
    """Say why a branch has ended, if it did not end by itself."""
    ended = branch["status"] in ("stopped", "failed", "finished")
    words = visible(branch["error"] or "").replace("\n", "↵")
    return f": {words}" if ended and words else ""


def _certified(certificate: dict[str, Any] | None) -> str:
    """Say what a branch's certificate states, and up to which step."""
    if certificate is None:
        return ""
    words = exactness.VERDICT_WORDS[certificate["state"]]
    span = exactness.span_words(certificate["from_step"], certificate["to_step"])
    return f", {styled(words, CERTIFICATE_COLOURS.get(certificate['state']))} ({span})"


def _owners(rows: Sequence[Row], nodes: Sequence[dict[str, Any]]) -> dict[str, dict[int, str]]:
    """Return for each row the branch whose line runs in each lane, to colour it."""
    current: dict[int, str] = {}
    owners: dict[str, dict[int, str]] = {}
    for row, node in zip(rows, nodes, strict=True):
        owners[row.node] = {**current, row.lane: node["branch"]}
        current = {lane: current[lane] for lane in row.through if lane in current}
        current[row.lane] = node["branch"]
    return owners


def _gutter(row: Row, node: dict[str, Any], owners: dict[int, str], colours: dict[str, str]) -> str:
    """Return the lanes beside one node: its mark, passing lines, and children's lines."""
    lanes = tuple((lane, colours[branch]) for lane, branch in owners.items())
    return _drawn(row.lane, row.through, row.joins, node["kind"], lanes, colours[node["branch"]])


@lru_cache(maxsize=1000)
def _drawn(
    own_lane: int,
    through: tuple[int, ...],
    joins: tuple[int, ...],
    kind: str,
    lanes: tuple[tuple[int, str], ...],
    own_colour: str,
) -> str:
    """Return a gutter by all that it depends on: most rows of a large tree look alike."""
    colours = dict(lanes)
    last = max((own_lane, *through, *joins))
    reach = max(joins, default=own_lane)
    drawn = ""
    for lane in range(last + 1):
        mark = " "
        if lane == own_lane:
            mark = MARKS.get(kind, "●")
        elif lane in joins:
            mark = "╯" if lane == reach else "┴"
        elif lane in through:
            mark = "│"
        elif own_lane < lane < reach:
            mark = "─"
        if own_lane < lane < reach and lane in through:
            mark = "┼"
        between = "─" if own_lane <= lane < reach else " "
        colour = colours.get(lane, own_colour)
        drawn += (mark if mark == " " else styled(mark, colour)) + between
    return drawn.rstrip()


def verdict_words(verdict: dict[str, Any]) -> str:
    """Return what a trial showed of a change, as ``helps −0.005``."""
    effect = verdict["effect"]
    words = styled(verdict["words"], VERDICT_COLOURS.get(verdict["verdict"]))
    return words if effect is None else f"{words} {formats.delta(effect)}"


def _cells(node: dict[str, Any], colours: dict[str, str]) -> list[str]:
    metric = next((name for name in _LOSSES if node["metrics"].get(name) is not None), None)
    loss = f"{metric} {formats.metric(node['metrics'][metric])}" if metric else ""
    changed = changes(node["changes"])
    text = ": ".join(phrase for phrase in (changed, node["message"]) if phrase).replace("\n", "↵")
    text = styled(text, bold=bool(changed))
    if node["merge_parent"]:
        text = f"second parent {node['merge_parent'][:8]}  {text}"
    if node["restore"] == "differs":
        text = f"{styled('restore', bold=True)} {state('differs')}  {text}".rstrip()
    if node.get("verdict"):
        text = f"{text}  [{verdict_words(node['verdict'])}]"
    return [
        styled(node["id"][:8], dim=True),
        f"step {formats.steps(node['step'])}",
        node["kind"],
        styled(node["branch"], colours[node["branch"]]),
        loss,
        node["actor"],
        text,
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(width_of(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def plot(
    steps: Sequence[int],
    values: Sequence[float],
    forks: Sequence[int],
    *,
    columns: int = 64,
    rows: int = 12,
) -> list[str]:
    """Return a curve in braille dots, its extremes at the left, its forks marked below."""
    # Differences of larger numbers are infinite.
    values = [max(-1e300, min(1e300, v)) if math.isfinite(v) else v for v in values]
    points = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    if not points:
        return ["No finite value to draw."]
    first, last = steps[0], steps[-1]
    low, high = min(v for _s, v in points), max(v for _s, v in points)
    wide, tall = columns * 2 - 1, rows * 4 - 1
    dots = [
        None
        if not math.isfinite(value)
        else (
            round((step - first) / max(1, last - first) * wide),
            round((high - value) / ((high - low) or math.inf) * tall),
        )
        for step, value in zip(steps, values, strict=True)
    ]
    grid = [[0] * columns for _row in range(rows)]
    for x, y in _joined(dots):
        grid[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
    labels = [formats.metric(high), *[""] * (rows - 2), formats.metric(low)]
    width = max(map(len, labels))
    lines = [
        f"{label:>{width}} ┤" + "".join(chr(0x2800 + bits) for bits in row)
        for label, row in zip(labels, grid, strict=True)
    ]
    return [*lines, *_axis(first, last, forks, width, columns)]


def _joined(dots: Sequence[tuple[int, int] | None]) -> Iterator[tuple[int, int]]:
    """Return the dots with straight lines between neighbours; a gap remains a gap."""
    before: tuple[int, int] | None = None
    for dot in dots:
        if dot is not None:
            yield dot
            if before is not None:
                (x0, y0), (x1, y1) = before, dot
                count = max(abs(x1 - x0), abs(y1 - y0))
                for i in range(1, count):
                    yield x0 + round((x1 - x0) * i / count), y0 + round((y1 - y0) * i / count)
        before = dot


def _axis(first: int, last: int, forks: Sequence[int], width: int, columns: int) -> list[str]:
    marks = ["─"] * columns
    for fork in forks:
        if first <= fork <= last:
            marks[round((fork - first) / max(1, last - first) * (columns - 1))] = "┴"
    ends = f"{first}{last:>{max(1, columns - len(str(first)))}}"
    lines = [" " * width + " └" + "".join(marks), " " * (width + 2) + ends]
    if forks:
        lines.append(" " * (width + 2) + f"forks at {', '.join(map(str, forks))}")
    return lines


def share_bar(share: float, columns: int = 12) -> str:
    """Return a bar for a share from 0 to 1, ``columns`` wide at most."""
    eighths = round(share * columns * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")
