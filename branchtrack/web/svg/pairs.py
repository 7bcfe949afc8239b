"""The pairs of a trial as a drawing: a row for each, on one axis of differences, and the interval.

Its functions are pure. What lies within the margin is shaded; zero is a line through all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from branchtrack.core import formats
from branchtrack.web.svg.marks import el, percent, ticks

#: The part of the width that has the axis; names stand left of it, values right.
_LEFT, _RIGHT = 0.15, 0.82
_TOP, _BOTTOM, _INTERVAL = 24, 24, 30
#: Heights of a row, of which the first that fits is used: with few pairs there is room.
_ROWS = ((16, 22), (40, 18), (10_000, 14))
#: Room left and right of what is drawn, as a share of it.
_ROOM = 0.06


@dataclass(frozen=True)
class PairMark:
    """A pair: its difference and that in words, or why it has none; ``title`` says all of it."""

    label: str
    value: float | None
    words: str
    title: str


@dataclass(frozen=True)
class Interval:
    """The mean of the differences and where it may lie, as far as that is known."""

    low: float | None
    mean: float | None
    high: float | None


@dataclass(frozen=True)
class Axis:
    """The differences at the left and right end."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """Return where a difference stands, as a share of the width; what is outside at an end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return percent(_LEFT + share * (_RIGHT - _LEFT))


def render_pairs(
    marks: Sequence[PairMark],
    interval: Interval,
    margin: float,
    *,
    higher_is_better: bool,
    colour: str,
    name: str,
    title: str,
    description: str,
) -> Markup:
    """Return the drawing; ``colour`` is the class of the interval.

    ``name`` is how the ids of its title and description begin.
    """
    known = [mark.value for mark in marks if mark.value is not None]
    ends = [end for end in (interval.low, interval.mean, interval.high) if end is not None]
    axis = span([*known, *ends], margin)
    row = next(height for most, height in _ROWS if len(marks) <= most)
    end = _TOP + row * len(marks)
    has_interval = interval.mean is not None
    tall = end + (_INTERVAL if has_interval else 0) + _BOTTOM
    parts = [
        el("title", title, id=f"{name}-title"),
        el("desc", description, id=f"{name}-desc"),
        *_frame(axis, margin, tall, higher_is_better),
        *(
            _pair(mark, axis, _TOP + row * number + row // 2, higher_is_better)
            for number, mark in enumerate(marks)
        ),
    ]
    if has_interval:
        parts.append(_interval(interval, axis, end + _INTERVAL // 2, colour))
    return el(
        "svg",
        *parts,
        class_="picture",
        width="100%",
        height=tall,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def span(values: Sequence[float], margin: float) -> Axis:
    """Return the axis that has zero, all values, and the margin unless that hides them."""
    low, high = min([0.0, *values]), max([0.0, *values])
    wide = high - low
    if margin and (not wide or margin <= 1.5 * wide):
        low, high = min(low, -margin), max(high, margin)
    if low == high:
        low, high = -1.0, 1.0
    room = _ROOM * (high - low)
    return Axis(low - room, high + room)


def _frame(axis: Axis, margin: float, tall: int, higher_is_better: bool) -> list[Markup]:
    bottom = tall - _BOTTOM
    parts = []
    for nth, value in enumerate(ticks(axis.low, axis.high, 6)):
        x = axis.at(value)
        parts.append(el("line", x1=x, x2=x, y1=_TOP - 4, y2=bottom, class_="grid"))
        kind = "minor" if nth % 2 and value else None
        label = f"{value:g}".replace("-", formats.MINUS, 1)
        parts.append(el("text", label, x=x, y=tall - 7, text_anchor="middle", class_=kind))
    if margin:
        first, last = (float(axis.at(value).rstrip("%")) for value in (-margin, margin))
        parts.append(
            el(
                "rect",
                x=f"{first:g}%",
                width=f"{last - first:g}%",
                y=_TOP - 4,
                height=bottom - _TOP + 4,
                class_="fill trunk",
            )
        )
    zero = axis.at(0.0)
    parts.append(el("line", x1=zero, x2=zero, y1=_TOP - 8, y2=bottom + 4, class_="zero"))
    sides = ("worse", "better") if higher_is_better else ("better", "worse")
    parts.append(el("text", f"← {sides[0]}", x=zero, dx=-8, y=12, text_anchor="end"))
    parts.append(el("text", f"{sides[1]} →", x=zero, dx=8, y=12))
    return parts


def _pair(mark: PairMark, axis: Axis, y: int, higher_is_better: bool) -> Markup:
    parts = [el("title", mark.title), el("text", mark.label, x="0", y=y + 4)]
    if mark.value is None:
        parts.append(el("text", mark.words, x=axis.at(0.0), dx=8, y=y + 4))
        return el("g", *parts)
    zero, x = axis.at(0.0), axis.at(mark.value)
    is_better = (mark.value > 0) == higher_is_better
    class_ = "muted" if mark.value == 0 else "down" if is_better else "up"
    line = el("line", x1=zero, x2=x, y1=y, y2=y, stroke="currentColor", stroke_width="1.5")
    dot = el("circle", cx=x, cy=y, r=4, fill="currentColor")
    return el(
        "g",
        *parts,
        line,
        dot,
        el("text", mark.words, x="100%", y=y + 4, text_anchor="end"),
        class_=class_,
    )


def _interval(interval: Interval, axis: Axis, y: int, colour: str) -> Markup:
    assert interval.mean is not None
    parts = [el("text", "mean", x="0", y=y + 4)]
    if interval.low is not None and interval.high is not None:
        ends = axis.at(interval.low), axis.at(interval.high)
        parts.append(
            el("line", x1=ends[0], x2=ends[1], y1=y, y2=y, stroke="currentColor", stroke_width="3")
        )
        parts += [
            el("line", x1=x, x2=x, y1=y - 6, y2=y + 6, stroke="currentColor", stroke_width="2")
            for x in ends
        ]
    diamond = el("path", d="M0,-6.5L6.5,0L0,6.5L-6.5,0Z", fill="currentColor")
    parts.append(el("svg", diamond, x=axis.at(interval.mean), y=y, class_="over"))
    shown = formats.deltas([interval.mean])[0]
    parts.append(el("text", shown, x="100%", y=y + 4, text_anchor="end", class_="label"))
    return el("g", *parts, class_=colour)
