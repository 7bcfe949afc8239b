"""The left edge of the node table: git-like lanes, one small drawing per row.

Its functions are pure. A row may grow as its text wraps, so lines run to 100 % of its height, and
curves start from its middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from branchtrack.core.tree import Row
from branchtrack.web.svg.marks import classes, el, mark

_STEP = 18
#: Further lanes are drawn on top of each other at the right.
WIDEST = 12


@dataclass(frozen=True)
class Gutter:
    """One row's lanes, and the width of the table's column in lanes.

    ``held`` has the styles of the lanes that come from above.
    """

    row: Row
    style: int
    kind: str
    held: tuple[tuple[int, int], ...]
    width: int

    @property
    def svg(self) -> Markup:
        """Return the drawing, which is rendered on use."""
        return _row(self.row, self.style, self.kind, dict(self.held))


def build_gutters(
    rows: Sequence[Row], styles: Mapping[str, int], kinds: Mapping[str, str], skip: int = 0
) -> dict[str, Gutter]:
    """Return each node's drawing; ``styles`` are branch styles and ``kinds`` are marks, by node.

    The first ``skip`` rows are on earlier pages: their lanes continue, but they are not drawn.
    """
    width = min(WIDEST, max((_widest(row) for row in rows[skip:]), default=0) + 1)
    held: dict[int, int] = {}
    drawn = {}
    for nth, row in enumerate(rows):
        if nth >= skip:
            above = tuple((lane, held[lane]) for lane in _from_above(row) if lane in held)
            drawn[row.node] = Gutter(row, styles[row.node], kinds[row.node], above, width)
        for lane in row.joins:
            held.pop(lane, None)
        held[row.lane] = styles[row.node]
    return drawn


def _row(row: Row, style: int, kind: str, held: Mapping[int, int]) -> Markup:
    x = _x(row.lane)
    parts = [_line(lane, 0, "100%", held.get(lane, style)) for lane in row.through]
    parts += [_join(lane, x, held.get(lane, style)) for lane in row.joins]
    if not row.starts:
        parts.append(_line(row.lane, 0, "50%", held.get(row.lane, style)))
    if not row.ends:
        parts.append(_line(row.lane, "50%", "100%", style))
    parts.append(el("g", mark(kind, x, "50%"), class_=classes(style)))
    return el("svg", *parts, class_="lines", aria_hidden="true", focusable="false")


def _line(lane: int, top: int | str, bottom: str, style: int) -> Markup:
    x = _x(lane)
    return el("line", x1=x, x2=x, y1=top, y2=bottom, class_=classes(style))


def _join(lane: int, x: int, style: int) -> Markup:
    """Return a child's lane that ends in this node: from above, then over to the node's lane."""
    start = _x(lane)
    # It starts far above: what lies outside the row is clipped.
    curve = el("path", d=f"M{start},-400V-16C{start},-4 {x},-10 {x},0", class_=classes(style))
    return el("svg", curve, y="50%", class_="over")


def _from_above(row: Row) -> tuple[int, ...]:
    return (row.lane, *row.through, *row.joins)


def _widest(row: Row) -> int:
    return max(_from_above(row))


def _x(lane: int) -> int:
    return 16 + _STEP * min(lane, WIDEST - 1)
