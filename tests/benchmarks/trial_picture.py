"""The picture of effects: for each change the truth's interval and below it that of one trial.

Equal numbers give equal bytes: there is no time and no random id in the file.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from branchtrack.core.trials.judging import HELPS, HURTS, INCONCLUSIVE, NONE, WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tests.benchmarks.trial_report import Effect

#: Verdicts are told apart by colour and marker; the truth is grey.
_MARKS = {
    HELPS: ("#137a3f", "v"),
    HURTS: ("#a3325a", "^"),
    NONE: ("#0a62c4", "s"),
    INCONCLUSIVE: ("#8a5a00", "o"),
}
_TRUTH = "#767676"
#: 830 pixels, of which there are 96 in an inch.
_WIDTH, _ROW = 830 / 96, 0.34
# Its keys have a type of hundreds of literals.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "branchtrack",
    "font.family": ["system-ui", "sans-serif"],
    "font.size": 10,
    "axes.edgecolor": "#e3e3e3",
}
#: Per cent; what is smaller is drawn to scale, what is larger by its logarithm.
_LINEAR = 1.0
_TICKS = (-30, -10, -3, -1, 0, 1, 3, 10, 30, 100)


def svg(effects: Sequence[Effect]) -> str:
    """Return the picture of some effects, one panel for each task.

    It has a white ground of its own, so that it reads the same on a dark page.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # The reader of the file has the font, not the machine that writes it.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    tasks = list(dict.fromkeys(effect.task for effect in effects))
    with matplotlib.rc_context(_STYLE):
        height = _ROW * (len(effects) + 2 * len(tasks) + 3)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
        panels = figure.subplots(len(tasks), 1, sharex=True, squeeze=False)[:, 0]
        for panel, task in zip(panels, tasks, strict=True):
            _draw(panel, [effect for effect in effects if effect.task == task])
        panels[-1].set_xlabel("effect on the held-out loss, per cent of it (lower is better)")
        figure.legend(handles=_legend(effects), loc="outside lower center", ncols=3, frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _draw(panel: Axes, effects: Sequence[Effect]) -> None:
    panel.set_title(effects[0].task, fontsize=10, loc="left", fontweight="bold")
    panel.axvline(0, color="#333333", linewidth=0.8)
    for row, effect in enumerate(effects):
        share = 100 / effect.loss
        truth, verdict = effect.truth, effect.verdict
        _interval(panel, row - 0.17, share, (truth.low, truth.effect, truth.high), _TRUTH, "D")
        colour, mark = _MARKS[verdict.verdict]
        if verdict.effect is not None and verdict.low is not None and verdict.high is not None:
            values = (verdict.low, verdict.effect, verdict.high)
            _interval(panel, row + 0.17, share, values, colour, mark)
    panel.set_yticks(range(len(effects)), [effect.change for effect in effects])
    panel.set_ylim(len(effects) - 0.5, -0.5)
    panel.set_xscale("symlog", linthresh=_LINEAR, linscale=0.6)
    panel.set_xticks(_TICKS, [f"{tick:+d}" if tick else "0" for tick in _TICKS], minor=False)
    panel.minorticks_off()
    panel.grid(axis="x", color="#e3e3e3", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)


def _interval(
    panel: Axes, y: float, share: float, values: tuple[float, ...], colour: str, mark: str
) -> None:
    low, effect, high = (value * share for value in values)
    panel.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    panel.plot([effect], [y], color=colour, marker=mark, markersize=5, linestyle="")


def _legend(effects: Sequence[Effect]) -> list[Any]:
    from matplotlib.lines import Line2D

    pairs = max(effect.truth.pairs for effect in effects)
    words = [(f"truth: {pairs} independent pairs", _TRUTH, "D")]
    words += [(f"trial: {WORDS[verdict]}", *mark) for verdict, mark in _MARKS.items()]
    return [
        Line2D([], [], color=colour, marker=mark, markersize=5, linewidth=2.2, label=label)
        for label, colour, mark in words
    ]
