"""The picture of a trunk: equal bytes, its words, colours for the dark, no seed left behind."""

from __future__ import annotations

import pytest

from branchtrack.examples.studies import cooldown, cooldown_plot, plot
from branchtrack.examples.studies.outcome import Outcome
from branchtrack.examples.studies.savings import FULL, TRUNK
from tests.examples.studies import made_up

pytest.importorskip("matplotlib")
PLAN = cooldown.plan(True, 2)


def of(arm: str, steps: int) -> list[Outcome]:
    return [
        made_up.outcome(
            arm, case, seed, steps=steps, curve=[(x, 3 - x / 200) for x in range(6, length + 1, 6)]
        )
        for case, length in PLAN.cases.items()
        for seed in PLAN.seeds
    ]


OUTCOMES = [*of(TRUNK, 312), *of(FULL, 600)]


def test_it_is_the_picture_of_the_study_and_equal_outcomes_give_equal_bytes() -> None:
    first = plot.svg(cooldown.STUDY, PLAN, OUTCOMES)
    assert first == cooldown_plot.svg(PLAN, OUTCOMES)
    assert "<dc:date>" not in first and len(first) < 60_000


def test_it_says_how_many_updates_each_arm_has_used_and_how_many_that_is() -> None:
    text = cooldown_plot.svg(PLAN, OUTCOMES)
    for words in ("nodes: 312 updates<", "each: 600 updates<", ">52%<", ">240<", "at 4 of 4"):
        assert words in text


def test_every_colour_has_another_one_for_the_dark() -> None:
    text = cooldown_plot.svg(PLAN, OUTCOMES)
    before, _, after = text.partition("prefers-color-scheme: dark")
    rules, _, drawing = after.partition("</style>")
    assert "<defs>" not in before
    used = {word[:7] for word in drawing.split(": ") if word.startswith("#")}
    assert used and all(f": {colour}" in rules for colour in used - {"#000000"})


def test_a_line_is_the_mean_of_the_seeds_where_all_of_them_were_measured() -> None:
    curves: list[list[tuple[float, float]]] = [[(6, 3.0), (12, 2.0)], [(12, 1.0), (18, 0.5)]]
    outcomes = [made_up.outcome(TRUNK, "a", seed, curve=curves[seed]) for seed in (0, 1)]
    steps, losses = cooldown_plot.line(outcomes, TRUNK, "a")
    assert (steps.tolist(), losses.tolist()) == ([12.0], [1.5])
    assert cooldown_plot.line(outcomes, FULL, "a")[0].size == 0
