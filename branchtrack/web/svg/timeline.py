"""Branches as lanes over training steps: forks, changes, checkpoints, and live branches.

Its functions are pure. It shares its horizontal axis with the chart below it; lane names stand
beside it as HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from branchtrack.core.formats import steps as in_thousands
from branchtrack.web.svg.marks import classes, el, mark, percent, ticks

TOP, ROW = 28, 34
#: Widths that labels are laid out for; a narrower page hides them and keeps their titles.
_WIDTH, _CHARACTER = 1000.0, 6.4
#: Checkpoints nearer than this to the mark before them are left out of the drawing.
_CROWDED = 9.0
#: With more nodes than this each plain checkpoint is a bare ring, to keep the page small.
_MANY = 400


@dataclass(frozen=True)
class LaneMark:
    """A node on a lane; ``label`` is written beside it if there is room."""

    step: int
    kind: str
    title: str
    href: str
    label: str = ""


@dataclass(frozen=True)
class Lane:
    """A branch from ``start`` to ``end``; ``parent`` is the index of the lane it forks from."""

    name: str
    style: int
    start: int
    end: int
    parent: int | None
    live: bool
    marks: tuple[LaneMark, ...]


@dataclass(frozen=True)
class Domain:
    """The steps at the left and right edge."""

    low: int
    high: int

    def share(self, step: float) -> float:
        """Return the position of a step, as a share of the width."""
        return (step - self.low) / max(1, self.high - self.low)

    def holds(self, step: float) -> bool:
        """Return whether a step lies inside."""
        return self.low <= step <= self.high


def height(lanes: int) -> int:
    """Return the drawing's height in pixels."""
    return TOP + ROW * max(1, lanes) + 6


def render_timeline(lanes: Sequence[Lane], domain: Domain, label: str) -> Markup:
    """Return the whole drawing."""
    tall = height(len(lanes))
    # An element, not an attribute, so that it can be updated without drawing all lanes again.
    parts = [el("desc", label, id="reached"), _grid(domain, tall)]
    parts += [_fork(lane, row, domain) for row, lane in enumerate(lanes)]
    bare = is_bare(lanes)
    parts += [render_lane(lane, row, domain, bare) for row, lane in enumerate(lanes)]
    cursor = el("line", x1=0, x2=0, y1=TOP - 8, y2=tall, class_="cursor", hidden="")
    return el(
        "svg",
        *parts,
        cursor,
        class_="timeline",
        width="100%",
        height=tall,
        role="img",
        aria_labelledby="reached",
        data_low=domain.low,
        data_high=domain.high,
    )


def is_bare(lanes: Sequence[Lane]) -> bool:
    """Return whether plain checkpoints are drawn as bare rings."""
    return sum(len(lane.marks) for lane in lanes) > _MANY


def render_lane(lane: Lane, row: int, domain: Domain, bare: bool) -> Markup:
    """Return one lane of the drawing, without the curve that leads to it."""
    y = middle(row)
    first, last = max(lane.start, domain.low), min(lane.end, domain.high)
    parts = []
    if last > first:
        x1, x2 = percent(domain.share(first)), percent(domain.share(last))
        parts.append(el("line", x1=x1, x2=x2, y1=y, y2=y, class_="stretch"))
    if lane.live and domain.holds(lane.end):
        parts.append(el("circle", cx=percent(domain.share(lane.end)), cy=y, r=7, class_="pulse"))
    shown = [lane_mark for lane_mark in lane.marks if domain.holds(lane_mark.step)]
    parts += _labels(shown, y, domain)
    for lane_mark in _thinned(shown, domain):
        x = percent(domain.share(lane_mark.step))
        if bare and lane_mark.kind == "ring":
            parts.append(el("circle", cx=x, cy=y, r=4, class_="bare", data_href=lane_mark.href))
        else:
            parts.append(mark(lane_mark.kind, x, y, lane_mark.title, data_href=lane_mark.href))
    return el("g", *parts, class_=classes(lane.style), data_branch=lane.name)


def _grid(domain: Domain, tall: int) -> Markup:
    parts = []
    places = [value for value in ticks(domain.low, domain.high, 8) if value == int(value)]
    for nth, value in enumerate(places):
        x = percent(domain.share(value))
        parts.append(el("line", x1=x, x2=x, y1=TOP - 8, y2=tall, class_="grid"))
        # A narrow page has room for every other label only.
        kind = "minor" if nth % 2 else None
        parts.append(el("text", in_thousands(value), x=x, y=13, text_anchor="middle", class_=kind))
    return el("g", *parts)


def middle(row: int) -> int:
    """Return the height of a lane's line in pixels."""
    return TOP + ROW * row + ROW // 2


def _fork(lane: Lane, row: int, domain: Domain) -> Markup:
    """Return the curve from the parent's lane to the start, left of the lanes between."""
    if lane.parent is None or not domain.holds(lane.start):
        return Markup("")
    rise = middle(row) - middle(lane.parent)
    bow = min(16.0, 6.0 + abs(rise) / 8)
    down = 1 if rise > 0 else -1
    curve = el(
        "path",
        class_="fork",
        d=f"M0,{-rise}C{-bow},{-rise + 10 * down} {-bow},{-12 * down} 0,0",
    )
    x = percent(domain.share(lane.start))
    return el("svg", curve, x=x, y=middle(row), class_=f"over {classes(lane.style)}")


def _thinned(marks: Sequence[LaneMark], domain: Domain) -> list[LaneMark]:
    remaining: list[LaneMark] = []
    for lane_mark in marks:
        last = remaining[-1].step if remaining else -1e18
        near = (domain.share(lane_mark.step) - domain.share(last)) * _WIDTH
        if near >= _CROWDED or lane_mark.kind != "ring":
            remaining.append(lane_mark)
    return remaining


def _labels(marks: Sequence[LaneMark], y: int, domain: Domain) -> list[Markup]:
    """Return labels above their marks that neither overlap another nor cross the edge."""
    parts: list[Markup] = []
    taken = -1e9
    for lane_mark in sorted(marks, key=lambda candidate: candidate.step):
        if not lane_mark.label:
            continue
        x = domain.share(lane_mark.step) * _WIDTH
        wide = len(lane_mark.label) * _CHARACTER
        ends_left = x + 10 + wide > _WIDTH + 20
        begin = x - wide - 10 if ends_left else x + 10
        if begin < taken:
            continue
        taken = begin + wide + 10
        anchor, shift = ("end", -9) if ends_left else ("start", 9)
        parts.append(
            el(
                "text",
                lane_mark.label,
                x=percent(domain.share(lane_mark.step)),
                dx=shift,
                y=y - 8,
                text_anchor=anchor,
                class_="label",
            )
        )
    return parts
