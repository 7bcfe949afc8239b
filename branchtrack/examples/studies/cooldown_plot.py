"""The picture of the study `cooldown`: a trunk and its cool-downs, before full trainings.

It is read on light and on dark pages: every colour has another one for readers who prefer dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from branchtrack.examples.studies import plot, savings
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.savings import FULL, TRUNK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PAPER, _INK, _GRID = "#ffffff", "#333333", "#e6e6e6"
_STEM, _COOL, _MUTED = "#0a62c4", "#c2410c", "#74787d"
#: The colours of readers who prefer dark.
_DARK = {
    _PAPER: "#0d1117",
    _INK: "#e6edf3",
    _GRID: "#272d36",
    _STEM: "#58a6ff",
    _COOL: "#ff9a5c",
    _MUTED: "#7d8590",
}
#: In inches; the size of letters in points.
_WIDTH, _HEIGHT, _LETTERS = 8.7, 4.5, 10.5
#: The highest loss of the picture is the trunk's after this part of the updates.
_FIRST = 8
#: Points between a line and its label.
_GAP = 9
Line = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def svg(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """Return the picture of some outcomes; lines are means over the seeds."""
    with plot.styled(**{"font.size": _LETTERS, "text.color": _INK}) as figure_class:
        figure = figure_class(figsize=(_WIDTH, _HEIGHT), facecolor=_PAPER)
        panel = figure.add_axes((0.062, 0.115, 0.918, 0.67), facecolor=_PAPER)
        _frame(panel, plan)
        for case in plan.cases:
            _draw_full(panel, line(outcomes, FULL, case))
        _draw_tree(panel, plan, outcomes)
        _headings(figure, plan, outcomes)
        return with_dark(plot.written(figure))


def line(outcomes: Sequence[Outcome], arm: str, case: str) -> Line:
    """Return the steps that all seeds of an arm have at a length, and the mean loss at each."""
    curves = [dict(o.curve) for o in outcomes if (o.arm, o.case) == (arm, case)]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    means = [float(np.mean([curve[step] for curve in curves])) for step in steps]
    return np.array(steps, dtype=float), np.array(means, dtype=float)


def with_dark(text: str) -> str:
    """Return an SVG whose colours are others where its reader prefers dark."""
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in _DARK.items()
        for kind in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    return text.replace(" <defs>", f" {style}\n <defs>", 1)


def _frame(panel: Axes, plan: Plan) -> None:
    lengths = list(plan.cases.values())
    panel.set_xlim(0, max(lengths) * 1.06)
    panel.set_xticks([0, *lengths], ["0", *(f"{length:,}" for length in lengths)])
    panel.set_xlabel("updates")
    panel.locator_params(axis="y", nbins=4)
    panel.tick_params(length=0, colors=_INK)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.spines["bottom"].set_color(_GRID)


def _draw_full(panel: Axes, curve: Line) -> None:
    """Draw a full training, and the loss at its end."""
    steps, losses = curve
    end = (float(steps[-1]), float(losses[-1]))
    panel.plot(steps, losses, color=_MUTED, linewidth=1.2, zorder=2)
    panel.plot(*end, "o", color=_MUTED, markersize=4.5, zorder=2)
    _label(panel, f"{end[1]:.2f}", end, _MUTED, (_GAP - 2, -3), ha="left", va="center")


def _draw_tree(panel: Axes, plan: Plan, outcomes: Sequence[Outcome]) -> None:
    """Draw each cool-down from its node on, and the trunk up to the last node."""
    thick: dict[str, Any] = {"linewidth": 2.6, "solid_capstyle": "round"}
    bold: dict[str, Any] = {"fontweight": "bold"}
    nodes = {case: length - plan.options["cooldown"] for case, length in plan.cases.items()}
    for number, (case, node) in enumerate(nodes.items()):
        steps, losses = line(outcomes, TRUNK, case)
        cool = steps >= node
        end = (float(steps[-1]), float(losses[-1]))
        panel.plot(steps[cool], losses[cool], color=_COOL, zorder=3, **thick)
        panel.plot(*end, "o", color=_COOL, markersize=7, zorder=3)
        _label(panel, f"{end[1]:.2f}", end, _COOL, (0, -_GAP), ha="center", va="top", **bold)
        if number == 0:
            middle = (node + end[0]) / 2
            point = (middle, float(np.interp(middle, steps, losses)))
            _label(panel, "cool-down", point, _COOL, (-_GAP, -2), ha="right", va="top", **bold)
        panel.plot(
            [node], losses[steps == node], "o", markersize=7.5, zorder=5,
            markerfacecolor=_PAPER, markeredgecolor=_STEM, markeredgewidth=2,
        )  # fmt: skip
    stem = steps <= node
    panel.plot(steps[stem], losses[stem], color=_STEM, zorder=4, **thick)
    start = list(nodes.values())[-2]
    point = (start, float(np.interp(start, steps, losses)))
    _label(
        panel, "trunk, constant rate", point, _STEM, (_GAP, _GAP), ha="left", va="bottom", **bold
    )
    panel.set_ylim(top=float(np.interp(max(plan.cases.values()) / _FIRST, steps, losses)))


def _label(
    panel: Axes, text: str, point: tuple[float, float], colour: str, offset: Any, **style: Any
) -> None:
    """Write a text so many points beside a point of the data."""
    panel.annotate(text, point, offset, textcoords="offset points", color=colour, **style)


def _headings(figure: Figure, plan: Plan, outcomes: Sequence[Outcome]) -> None:
    """Write what both colours are with the updates of each, and how many that is."""
    trunk, full = (savings.updates(outcomes, arm) for arm in (TRUNK, FULL))
    lines = (
        (0.950, f"One trunk, cooled down from four of its nodes: {trunk:,.0f} updates", _STEM),
        (0.888, f"Four trainings from scratch, with a cosine each: {full:,.0f} updates", _MUTED),
    )
    for y, text, colour in lines:
        figure.text(0.03, y, text, color=colour, va="center", fontsize=12.5, fontweight="bold")
    figure.text(0.03, 0.815, "validation loss", va="center")
    part = f"{savings.share(outcomes):.0%}"
    lengths = f"test loss as low at {savings.as_low(plan, outcomes)} of {len(plan.cases)} lengths"
    figure.text(0.97, 0.665, part, ha="right", fontsize=34, fontweight="bold")
    figure.text(0.97, 0.615, "of the updates", ha="right", fontsize=12.5)
    figure.text(0.97, 0.565, lengths, ha="right")
