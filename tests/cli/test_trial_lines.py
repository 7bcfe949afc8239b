"""Trials and reviews in lines of a terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
import pytest

from branchtrack.analysis.trials import payloads
from branchtrack.cli import trial_lines
from branchtrack.core.trials.outcomes import judged
from tests.core.trials import made_up
from tests.core.trials.test_outcomes import ROWS


def change(**facts: Any) -> dict[str, Any]:
    """A change as `payloads.trial` has it."""
    trial = made_up.trial(None, *[row[:2] for row in ROWS])
    settled = replace(trial, verdicts=tuple(judged(trial, trial.pairs)), state="settled")
    return {**payloads.verdict_line(settled), **facts}


def said(**facts: Any) -> list[str]:
    """The lines of a change, without colours."""
    return [click.unstyle(line) for line in trial_lines.change_lines(change(**facts))]


def trial(*rows: Any, **facts: Any) -> dict[str, Any]:
    """A trial with pairs of these values, as far as a drawing needs it."""
    pairs = [{"number": n, "values": [*row]} for n, row in enumerate(rows, 1)]
    return {"pairs": pairs, "changes": [change(**facts)] * 2}


def test_an_effect_has_its_interval_and_coverage() -> None:
    words = trial_lines.effect_words(change(effect=-0.05, low=-0.06, high=-0.04, coverage=0.97))
    assert words == "−0.050 (−0.060 to −0.040, 97 %)"
    assert trial_lines.effect_words({"effect": 0.25, "low": None}) == "+0.250"
    assert trial_lines.effect_words({"effect": None}) == ""


def test_a_change_says_what_more_would_settle_it() -> None:
    lines = said(words="inconclusive", more=5, why="too few")
    assert lines[0] == "lr=x0.9: inconclusive" and "  too few" in lines
    assert lines[-1] == "  about 5 repeats more would settle it"
    pending = said(words="pending", verdict="pending", effect=None)
    assert pending == ["lr=x0.9: pending"]


def test_pairs_and_the_interval_are_drawn_on_one_axis() -> None:
    rows = [(2.0, 1.9), (2.0, 1.95), (2.0, None), (2.0, 2.01)]
    lines = trial_lines.drawing(trial(*rows, effect=-0.05, low=-0.09, high=-0.01), 0)
    head, *points, interval = lines
    assert len(points) == 4 and "0" in head
    assert [line.count("●") for line in points] == [1, 1, 0, 1]
    columns = [line.find("●") for line in points if "●" in line]
    assert columns == sorted(columns)
    zero = head.rindex("0")
    assert all(line[zero] in "┊●" for line in points) and points[0].endswith("−0.100")
    assert interval.index("├") < interval.index("◆") < interval.index("┤") < zero


@pytest.mark.parametrize("rows", [[], [(None, 1.0)], [(1.0, 1.0), (2.0, 2.0)]])
def test_what_does_not_differ_is_not_drawn(rows: Any) -> None:
    assert trial_lines.drawing(trial(*rows, effect=0.0, low=0.0, high=0.0), 0) == []


def test_the_second_change_has_its_own_points() -> None:
    lines = trial_lines.drawing(trial((1.0, 1.5, 0.5), (1.0, None, 0.25), effect=None, low=None), 1)
    assert [line.split()[-1] for line in lines[1:]][:2] == ["−0.500", "−0.750"]


def test_a_review_is_a_table_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "node": "a" * 16,
        "step": 1000,
        "branch": "main",
        "text": "lr 0.1 → 0.2",
        "actor": "ann",
        **change(effect=-0.1, low=-0.2, high=-0.05, why=None),
    }
    untried = {**row, "effect": None, "verdict": None, "words": None, "why": "no updates are left"}
    counts = {"helped": 1, "hurt": 0, "none": 0, "inconclusive": 0, "pending": 0, "untried": 1}
    trial_lines.print_review({"changes": [row, untried], **counts})
    out = capsys.readouterr().out
    assert "lr 0.1 → 0.2" in out and "not tried" in out and "aaaaaaaa: no updates are left" in out
    sentence = "1 helped, 0 hurt, 0 without effect, 0 inconclusive, 1 not tried"
    assert out.endswith(f"{sentence}\n")
    assert trial_lines.summary_words({**counts, "untried": 0}).endswith("0 inconclusive")
    assert trial_lines.summary_words({**counts, "pending": 2}).endswith(
        "2 still trained, 1 not tried"
    )
