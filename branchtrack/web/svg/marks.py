"""The small parts of every drawing: elements, marks, branch styles, ticks.

Its functions are pure; attribute values are escaped here and nowhere else. There are no style
attributes, which the page's policy forbids: colours and dashes are classes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

COLOURS = 4
_SPECIAL = re.compile("[&<>\"']")
TRUNK = -1
#: Of so many positions, two are always inside of a range.
_ENOUGH = 10
#: Ticks are not nearer to each other: powers of ten end not far below.
_LEAST_STEP = 1e-300
_MOST_POWERS = 12


def colour_and_dash(index: int) -> tuple[int, int]:
    """Return the numbers of a branch's colour and dash; sixteen pairs before one repeats."""
    colour = index % COLOURS
    return colour, (colour + index // COLOURS) % COLOURS


def distinct(indices: Iterable[int], *, by_colour: bool = False) -> list[int]:
    """Return styles for branches that are shown together: each its own, or the next free one.

    Up to sixteen differ in colour or dash; with ``by_colour``, up to four differ in colour.
    """
    pairs: set[tuple[int, int]] = set()
    chosen = []
    for index in indices:
        following = range(index, index + COLOURS * COLOURS)
        free = [other for other in following if colour_and_dash(other) not in pairs]
        if by_colour:
            taken = {colour for colour, _ in pairs}
            free = [other for other in free if colour_and_dash(other)[0] not in taken] or free
        style = free[0] if free else index
        pairs.add(colour_and_dash(style))
        chosen.append(style)
    return chosen


def classes(index: int) -> str:
    """Return the classes of a branch's colour and dash."""
    if index == TRUNK:
        return "trunk d0"
    colour, dash = colour_and_dash(index)
    return f"b{colour} d{dash}"


def el(name: str, *content: str, **attributes: Any) -> Markup:
    """Return an SVG element: ``class_`` is class, ``_`` in names is ``-``, None leaves one out."""
    parts = [
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    inner = "".join(child if isinstance(child, Markup) else _escaped(child) for child in content)
    return Markup(f"<{name}{''.join(parts)}>{inner}</{name}>")


def percent(share: float) -> str:
    """Return a share of the width in the form ``34.21%``."""
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"


def mark(kind: str, x: Any, y: Any, title: str = "", **attributes: Any) -> Markup:
    """Return a node's mark: a diamond for a change, a ring for a checkpoint, a square for an end,
    a disc for several checkpoints.

    ``x`` and ``y`` may be percentages: the shape is drawn around the origin of its own small svg.
    """
    tip = el("title", title) if title else Markup("")
    # A transparent disc makes the target 24 px wide.
    target = _TARGET if "data_href" in attributes else Markup("")
    shape = _SHAPES.get(kind, _SHAPES["ring"])
    return el("svg", target, shape, tip, x=x, y=y, class_="mark", **attributes)


def mark_kind(kind: str, changed: bool) -> str:
    """Return the mark for a node of ``kind``."""
    if kind in ("fork", "merge"):
        return "change" if changed else "fork"
    if kind == "final":
        return "end"
    return "change" if changed or kind == "intervention" else "ring"


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return round positions between ``low`` and ``high``, about ``count`` of them, at least two.

    A single number would not say how large is what is drawn. Of an empty range it is ``low``.
    """
    # Divided first: the difference of two floats may be infinite.
    rough = high / max(1, count) - low / max(1, count)
    if not _LEAST_STEP < rough < math.inf:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    if last <= first and count < _ENOUGH:
        return ticks(low, high, count + 1)
    return [float(f"{multiple * step:.12g}") for multiple in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return positions for a logarithmic axis: decades, with 2 and 5 between if there is room."""
    if low <= 0 or high <= low:
        return [high]
    if high / low < 20:
        return [tick for tick in ticks(low, high, 5) if tick > 0]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1,) if last - first > 4 else (1, 2, 5)
    # Of very many powers of ten every so many has a line.
    powers = range(first, last + 1, max(1, math.ceil((last - first) / _MOST_POWERS)))
    places = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [tick for tick in places if low * 0.999 <= tick <= high * 1.001 and 0 < tick < math.inf]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    # Most are numbers, and there are many of them.
    return str(value) if isinstance(value, int) else _escaped(str(value))


def _escaped(text: str) -> str:
    """Return text for markup; most has nothing to escape, and to see that is faster."""
    return escape(text) if _SPECIAL.search(text) else text


_TARGET = el("circle", r=12, class_="target")
_SHAPES = {
    "change": el("path", d="M0,-6.5L6.5,0L0,6.5L-6.5,0Z", class_="solid"),
    "fork": el("path", d="M0,-6.5L6.5,0L0,6.5L-6.5,0Z", class_="hollow"),
    "end": el("rect", x=-4.5, y=-4.5, width=9, height=9, rx=1, class_="solid"),
    "ring": el("circle", r=4, class_="hollow"),
    "fold": el("circle", r=3, class_="solid"),
}
