"""The plot of a study as SVG: one panel for each case, a line and a band for each arm.

Equal outcomes give equal bytes: there is no time and no random id in the file.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.study import ANY_CASE, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Lines are told apart by colour and dash; the first is what everything is compared with.
_COLOURS = ("#767676", "#0a62c4", "#b3541e", "#137a3f", "#8a3fa0", "#a3325a", "#5f6b00", "#00707a")
_DASHES = ("-", "--", "-.", ":")
_POINTS = 60
#: An axis of a case's own begins at the losses after this part of the updates.
_FIRST = 6
_PANEL, _HEIGHT = 3.4, 3.1
_INK, _GRID = "#333333", "#e3e3e3"
# Its keys have a type of hundreds of literals.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "branchtrack",
    "font.family": ["system-ui", "sans-serif"],
    "font.size": 9,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "path.simplify": True,
}


def svg(study: Study, plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """Return the plot of some outcomes: the study's own picture, if it has one."""
    if study.picture is not None:
        return study.picture(plan, outcomes)
    cases = list(plan.cases)
    with styled() as figure_class:
        figure = figure_class(figsize=(_PANEL * len(cases) + 0.4, _HEIGHT + 0.9))
        panels = figure.subplots(1, len(cases), sharey=not study.has_own_axes, squeeze=False)[0]
        for panel, case in zip(panels, cases, strict=True):
            _draw(panel, study, case, outcomes)
        panels[0].set_ylabel(study.axes[1])
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
        space = 0.22 if study.has_own_axes else 0.08
        figure.subplots_adjust(left=0.09, right=0.98, top=0.9, bottom=0.34, wspace=space)
        return written(figure)


@contextmanager
def styled(**more: Any) -> Iterator[type[Figure]]:
    """Return matplotlib's class of figures, in the style of the studies and with ``more`` of it."""
    import logging

    import matplotlib
    from matplotlib.figure import Figure

    # The reader of the file has the font, not the machine that writes it.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    style: Any = {**_STYLE, **more}
    with matplotlib.rc_context(style):
        yield Figure


def written(figure: Figure) -> str:
    """Return a figure as SVG, in the style that is in force."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _draw(panel: Axes, study: Study, case: str, outcomes: Sequence[Outcome]) -> None:
    """Draw the lines of a case, and those of arms that are the same in every case."""
    from matplotlib.ticker import LogLocator, NullLocator

    highest = 0.0
    for number, arm in enumerate(study.arms):
        chosen = [o for o in outcomes if o.arm == arm.name and o.case in (case, ANY_CASE)]
        steps, curves = over_seeds(chosen, is_lowest=study.is_lowest)
        if not steps.size:
            continue
        style: dict[str, Any] = {"color": _COLOURS[number % len(_COLOURS)]}
        mean, spread = curves.mean(axis=0), curves.std(axis=0, ddof=int(len(curves) > 1))
        dash = _DASHES[number % len(_DASHES)]
        highest = max(highest, float(mean[len(mean) // _FIRST]))
        panel.plot(steps, mean, linestyle=dash, linewidth=1.4, label=arm.name, **style)
        panel.fill_between(steps, mean - spread, mean + spread, alpha=0.1, linewidth=0, **style)
    if study.has_own_axes and highest:
        # The fall of the first updates, which all have, would leave no room for the rest.
        panel.set_yscale("log")
        panel.set_ylim(top=highest)
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter("{x:.2g}")
    panel.set_title(case, fontsize=9, loc="left")
    panel.set_xlabel(study.axes[0])
    panel.grid(color=_GRID, linewidth=0.6)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def over_seeds(
    outcomes: Sequence[Outcome], *, is_lowest: bool = True
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the steps that all seeds have, (n), and the loss of each by then, (seeds, n).

    ``is_lowest``: the lowest so far.
    Values that are not finite are no loss; a seed without any other value is left out.
    """
    finite = [[(x, y) for x, y in o.curve if math.isfinite(y)] for o in outcomes]
    lowest = [_in_order(points, is_lowest) for points in finite if points]
    if not lowest:
        return np.empty(0), np.empty((0, 0))
    first = max(xs[0] for xs, _ in lowest)
    last = min(xs[-1] for xs, _ in lowest)
    steps = np.linspace(first, last, _POINTS) if last > first else np.array([first])
    between = _at if is_lowest else np.interp
    return steps, np.array([between(steps, xs, ys) for xs, ys in lowest])


def _in_order(
    points: Sequence[tuple[float, float]], is_lowest: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    ordered = sorted(points)
    xs, ys = (np.array(column, dtype=float) for column in zip(*ordered, strict=True))
    return xs, np.minimum.accumulate(ys) if is_lowest else ys


def _at(
    steps: np.ndarray[Any, Any], xs: np.ndarray[Any, Any], ys: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return the values at some steps: each lasts until the next one is known."""
    return ys[np.searchsorted(xs, steps, side="right") - 1]
