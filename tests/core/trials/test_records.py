"""A trial is stored as plain values, and its pairs say what they show."""

from __future__ import annotations

import json
from dataclasses import replace

from branchtrack.core.trials.judging import judge
from branchtrack.core.trials.records import DIVERGED, LOST, ORDERED, SAME, Pair, Trial, differences
from tests.core.trials import made_up


def test_a_trial_comes_back_from_json_as_it_was() -> None:
    verdict = judge([], 0.05, higher_is_better=False)
    trial = made_up.trial(None, (2.0, 1.9), (2.1, None), verdicts=(verdict,))
    row = json.loads(json.dumps(trial.row()))
    assert Trial.read(row) == trial


def test_most_steps_counts_every_training_with_the_controls_once() -> None:
    assert made_up.spec(repeats=8, arms=3).most_steps == 8 * 4 * 50


def test_the_level_is_that_of_the_last_look_reached() -> None:
    spec = made_up.spec(repeats=8)
    assert [spec.level(n) for n in (1, 4, 5, 6, 8)] == [spec.levels[n] for n in (0, 0, 0, 1, 2)]


def test_a_difference_needs_both_sides() -> None:
    (pair,) = made_up.pairs((2.0, 1.9))
    lost = pair.with_side(1, made_up.side(None, state=LOST))
    waiting = pair.with_side(0, made_up.side(None, state=ORDERED))
    settled = replace(pair, sides=(pair.sides[0], None))
    assert [p.difference(0) for p in (lost, waiting, settled)] == [None] * 3
    assert [p.is_over for p in (lost, waiting, settled)] == [True, False, True]
    assert lost.difference(0) is None


def test_a_side_that_diverged_has_a_difference_without_a_value() -> None:
    (pair,) = made_up.pairs((2.0, None))
    diverged = pair.with_side(1, made_up.side(None, state=DIVERGED)).difference(0)
    assert diverged is not None and diverged.value is None


def test_sides_that_end_in_the_same_state_are_the_same_bits() -> None:
    pair = Pair(1, "a", 10, 1, (made_up.side(2.0, "x"), made_up.side(2.0, "x")))
    difference = pair.difference(0)
    assert difference is not None and difference.same_bits


def test_repeats_of_one_node_that_drew_the_same_count_once() -> None:
    same = (made_up.side(2.0, "x"), made_up.side(1.9, "y"))
    clones = [Pair(number, "a", 10, number, same) for number in (1, 2, 3)]
    assert len(differences(clones, 0)) == 1
    elsewhere = [Pair(number, str(number), 10, number, same) for number in (1, 2, 3)]
    assert len(differences(elsewhere, 0)) == 3


def test_the_floor_is_the_largest_difference_where_nothing_was_changed() -> None:
    rows = ((2.0, 2.001), (2.0, 1.998))
    floor = made_up.trial(None, *rows, kind=SAME).floor
    assert floor is not None and abs(floor - 0.002) < 1e-9
    assert made_up.trial(None, *rows).floor is None


def test_trained_steps_are_of_sides_that_have_ended() -> None:
    trial = made_up.trial(None, (2.0, 1.9))
    (pair,) = trial.pairs
    half = replace(trial, pairs=(pair.with_side(1, made_up.side(None, state=ORDERED)),))
    assert (trial.trained_steps, half.trained_steps) == (100, 50)
