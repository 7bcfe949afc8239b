"""Drawings as files of their own: what the style sheet says of them becomes attributes.

A file has no style sheet, and pages forbid styles inside of drawings. Colours are those of the
light theme, for paper and mail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from branchtrack.web.svg.marks import el

_INK, _MUTED, _LINE, _EDGE = "#1b2026", "#59636e", "#dde2e8", "#818b96"
_SOLID = {"stroke-dasharray": "none"}
_CURVE = {"fill": "none", "stroke": "currentColor", "vector-effect": "non-scaling-stroke"}
_OPEN = {"overflow": "visible"}
#: What each class of the style sheet says, as attributes.
ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "b0": {"color": "#0072b2"},
    "b1": {"color": "#b04a00"},
    "b2": {"color": "#007a59"},
    "b3": {"color": "#a9447f"},
    "trunk": {"color": "#76808a"},
    "d1": {"stroke-dasharray": "6 4"},
    "d2": {"stroke-dasharray": "2 3"},
    "d3": {"stroke-dasharray": "8 3 2 3"},
    "curve": {**_CURVE, "stroke-width": "1.9", "stroke-linejoin": "round"},
    "raw": {**_CURVE, **_SOLID, "stroke-opacity": "0.28"},
    "fill": {"fill": "currentColor", "fill-opacity": "0.2"},
    "edge": {**_SOLID, "stroke-width": "1"},
    "stretch": {"stroke": "currentColor", "stroke-width": "2.5"},
    "fork": {"fill": "none", "stroke": "currentColor", "stroke-width": "1.6"},
    "grid": {"stroke": _LINE},
    "zero": {"stroke": _EDGE},
    "forkline": {"stroke": _MUTED, "stroke-dasharray": "3 3"},
    "guide": {"stroke": "#0068a3", "stroke-width": "1.5"},
    "plot": _OPEN,
    "timeline": _OPEN,
    "lines": _OPEN,
    "mark": _OPEN,
    "over": _OPEN,
    "solid": {"fill": "currentColor", "stroke": "#ffffff", "stroke-width": "1.5", **_SOLID},
    "hollow": {"fill": "#ffffff", "stroke": "currentColor", "stroke-width": "2", **_SOLID},
    "bare": {"fill": "#ffffff", "stroke": "currentColor", "stroke-width": "2", **_SOLID},
    "target": {"fill": "none"},
    "gap": {"stroke": "currentColor", "stroke-width": "2", **_SOLID},
    "pulse": {"fill": "currentColor", "fill-opacity": "0.3"},
    "name": {"fill": "currentColor", "font-weight": "600"},
    "more-names": {"fill": _MUTED},
    "title": {"fill": _INK, "font-weight": "600"},
    "cursor": {"display": "none"},
}
_CLASS = re.compile(r'(?<=\s)class="([^"]*)"')
#: Characters that XML 1.0 has no place for.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_WIDTH, _LEFT, _RIGHT = 1000, 120, 124
_SPACE = "http://www.w3.org/2000/svg"


def stack(drawings: Sequence[tuple[str, Markup, Markup, int]], width: int = _WIDTH) -> str:
    """Return drawings below each other as one file.

    Each is a title, the labels of its vertical axis, the drawing, and its height in pixels.
    """
    parts = []
    top = 0
    inner = width - _LEFT - _RIGHT
    for title, axis, drawing, height in drawings:
        parts.append(el("text", title, x=12, y=top + 20, class_="title"))
        parts.append(el("svg", axis, x=0, y=top, width=_LEFT, height=height))
        parts.append(
            el("svg", drawing, x=_LEFT, y=top, width=inner, height=height, overflow="visible")
        )
        top += height
    picture = el(
        "svg",
        el("rect", width="100%", height="100%", fill="#ffffff"),
        *parts,
        xmlns=_SPACE,
        width=width,
        height=max(top, 1),
        viewBox=f"0 0 {width} {max(top, 1)}",
        font_family="system-ui, -apple-system, 'Segoe UI', sans-serif",
        font_size="11.5",
        fill=_MUTED,
    )
    return _UNREADABLE.sub("\ufffd", inlined(picture))


def inlined(picture: str) -> str:
    """Return a drawing whose classes are replaced by what the style sheet says of them."""
    return _CLASS.sub(lambda match: _attributes(match[1].split()), picture)


def _attributes(classes: Sequence[str]) -> str:
    merged: dict[str, str] = {}
    for name in classes:
        merged |= ATTRIBUTES.get(name, {})
    return " ".join(f'{name}="{value}"' for name, value in merged.items())
