"""The plot is small, the same for equal outcomes, and leaves out what is no number."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from branchtrack.examples.studies import plot
from tests.examples.studies.made_up import outcome, outcomes, plan, study

pytest.importorskip("matplotlib")


def test_equal_outcomes_give_equal_bytes() -> None:
    first = plot.svg(study(), plan(), outcomes())
    assert first == plot.svg(study(), plan(), outcomes())
    assert len(first) < 150_000


def test_it_has_a_panel_for_each_case_and_its_words_are_text() -> None:
    text = plot.svg(study(), plan(), outcomes())
    for word in ("low", "high", "nothing", "tuned", "lowest held-out loss so far"):
        assert f">{word}</text>" in text
    assert "<dc:date>" not in text


def test_a_line_is_the_lowest_loss_so_far() -> None:
    curve = [(0.0, 5.0), (10.0, 2.0), (20.0, 4.0)]
    steps, losses = plot.over_seeds([outcome("a", "c", 0, curve=curve)])
    assert (steps[0], steps[-1]) == (0, 20)
    assert (losses[0][0], losses[0][-1]) == (5.0, 2.0)


def test_a_line_ends_where_the_shortest_seed_does() -> None:
    short = outcome("a", "c", 1, curve=[(0.0, 5.0), (8.0, 4.0)])
    steps, losses = plot.over_seeds([outcome("a", "c", 0), short])
    assert steps[-1] == 8 and losses.shape[0] == 2


def test_what_is_no_number_is_no_loss() -> None:
    broken = outcome("a", "c", 0, curve=[(0.0, math.nan), (10.0, math.inf)])
    assert plot.over_seeds([broken])[0].size == 0
    assert plot.over_seeds([broken, outcome("a", "c", 1)])[1].shape[0] == 1


def test_cases_whose_losses_differ_much_have_axes_of_their_own() -> None:
    own = plot.svg(replace(study(), has_own_axes=True), plan(), outcomes())
    assert own.count(">1.5<") == 2 and plot.svg(study(), plan(), outcomes()).count(">1.5<") == 1
