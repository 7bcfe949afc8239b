"""Drawings as files of their own: what the style sheet says of them becomes attributes.

A file has no style sheet, and pages forbid styles inside of drawings. Colours are those of the
light theme, for paper and mail, unless the dark ones are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from markupsafe import Markup

from branchtrack.web.svg.marks import el

_INK, _MUTED, _LINE, _EDGE, _PAPER = "#1b2026", "#59636e", "#dde2e8", "#818b96", "#ffffff"
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
    "solid": {"fill": "currentColor", "stroke": _PAPER, "stroke-width": "1.5", **_SOLID},
    "hollow": {"fill": _PAPER, "stroke": "currentColor", "stroke-width": "2", **_SOLID},
    "bare": {"fill": _PAPER, "stroke": "currentColor", "stroke-width": "2", **_SOLID},
    "target": {"fill": "none"},
    "gap": {"stroke": "currentColor", "stroke-width": "2", **_SOLID},
    "pulse": {"fill": "currentColor", "fill-opacity": "0.3"},
    "name": {"fill": "currentColor", "font-weight": "600"},
    "more-names": {"fill": _MUTED},
    "title": {"fill": _INK, "font-weight": "600"},
    "cursor": {"display": "none"},
}
#: The light theme's colours, and what they are in the dark.
_DARK = {
    _INK: "#e6edf3",
    _MUTED: "#9aa4af",
    _LINE: "#2a313a",
    _EDGE: "#6b7682",
    _PAPER: "#0d1117",
    "#0068a3": "#5db2e8",
    "#0072b2": "#3d9fdb",
    "#b04a00": "#f07f2e",
    "#007a59": "#22b98f",
    "#a9447f": "#d98abb",
    "#76808a": "#8a939d",
}
_CLASS = re.compile(r'(?<=\s)class="([^"]*)"')
#: Characters that XML 1.0 has no place for.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_WIDTH, _LEFT, _RIGHT = 1000, 120, 124
_SPACE = "http://www.w3.org/2000/svg"
#: Characters of a title; longer ones would not fit into the width.
_LONGEST = 120


def stack(
    drawings: Sequence[tuple[str, Markup, Markup, int]],
    width: int = _WIDTH,
    *,
    is_dark: bool = False,
) -> str:
    """Return drawings below each other as one file.

    Each is a title, the labels of its vertical axis, the drawing, and its height in pixels. The
    title stands above the plot, where the drawing leaves room for it.
    """
    shade = _DARK if is_dark else {}
    parts = []
    top = 0
    inner = width - _LEFT - _RIGHT
    for title, axis, drawing, height in drawings:
        is_long = len(title) > _LONGEST
        words = (title[: _LONGEST - 1] + "…", el("title", title)) if is_long else (title,)
        parts.append(el("text", *words, x=12, y=top + 16, class_="title"))
        parts.append(el("svg", axis, x=0, y=top, width=_LEFT, height=height))
        parts.append(
            el("svg", drawing, x=_LEFT, y=top, width=inner, height=height, overflow="visible")
        )
        top += height
    picture = el(
        "svg",
        el("rect", width="100%", height="100%", fill=shade.get(_PAPER, _PAPER)),
        *parts,
        xmlns=_SPACE,
        width=width,
        height=max(top, 1),
        viewBox=f"0 0 {width} {max(top, 1)}",
        font_family="system-ui, -apple-system, 'Segoe UI', sans-serif",
        font_size="11.5",
        fill=shade.get(_MUTED, _MUTED),
    )
    return _UNREADABLE.sub("\ufffd", inlined(picture, shade))


def inlined(picture: str, shade: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a drawing whose classes are replaced by what the style sheet says of them.

    ``shade`` has the colours to take instead of those of the light theme.
    """
    return _CLASS.sub(lambda match: _attributes(match[1].split(), shade), picture)


def _attributes(classes: Sequence[str], shade: Mapping[str, str]) -> str:
    merged: dict[str, str] = {}
    for name in classes:
        merged |= ATTRIBUTES.get(name, {})
    return " ".join(f'{name}="{shade.get(value, value)}"' for name, value in merged.items())
