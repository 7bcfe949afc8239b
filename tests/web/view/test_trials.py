"""Trials as pages show them."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.trials.judging import Verdict
from branchtrack.core.trials.records import (
    CANCELLED,
    CHANGE,
    DIVERGED,
    DONE,
    FAILED,
    ORDERED,
    RUNNING,
    SAME,
    SETTLED,
    Arm,
    Pair,
    Side,
    Spec,
    Trial,
)
from branchtrack.web.view import trials
from branchtrack.web.view.trials import Tried


def verdict(name: str, **facts: Any) -> Verdict:
    effect = {"effect": -0.0051, "low": -0.0062, "high": -0.004, "error": 1e-3}
    return Verdict(name, **{**effect, "margin": 2e-3, "floor": 0.0, "pairs": 8, **facts})


def trial(*verdicts: Verdict | None, arms: Any = (), **facts: Any) -> Trial:
    arms = arms or tuple(Arm(f"lr=x{n}", {"lr": f"x{n}"}) for n, _ in enumerate(verdicts, 2))
    told: dict[str, Any] = {"nodes": ("a1", "b2"), "repeats": 8, "margin": None}
    told |= {name: facts.pop(name) for name in tuple(told) if name in facts}
    spec = Spec(arms=arms, metric="loss", steps=50, at=(4, 6, 8), levels=(0.01, 0.02, 0.03), **told)
    row = {
        "id": "t1",
        "run_id": "r",
        "group_id": "g",
        "kind": CHANGE,
        "subject": None,
        "pairs": (),
        "state": SETTLED,
        "error": "",
        "actor": "anna",
        "reason": "",
        "created_at": 0.0,
        "updated_at": 0.0,
        **facts,
    }
    return Trial(spec=spec, verdicts=verdicts, **row)


def pair(number: int, *sides: Side | None) -> Pair:
    return Pair(number, "a1", 10, 7, sides)


DONE_PAIR = pair(1, Side("l", "b1", "c-1", DONE, 2.0, "x"), Side("l", "b2", "t-1", DONE, 1.9, "y"))


def test_a_line_has_the_verdict_with_its_effect_and_pairs() -> None:
    (line,) = trials.lines(trial(verdict("helps")))
    assert (line.text, line.sentence) == ("helps −0.0051", "lr=x2: helps, −0.0051, 8 pairs")
    assert line.interval == "−0.00510 (−0.00620 to −0.00400)"


@pytest.mark.parametrize(
    ("name", "style"),
    [("helps", "held"), ("hurts", "failed"), ("inconclusive", "waiting"), ("none", "none")],
)
def test_a_verdict_has_a_look_that_other_pages_use(name: str, style: str) -> None:
    assert trials.lines(trial(verdict(name)))[0].style == style


def test_one_that_runs_is_pending_and_says_how_far_it_is() -> None:
    (line,) = trials.lines(trial(None, state=RUNNING, pairs=(DONE_PAIR,)))
    assert line.sentence == "lr=x2: pending, 1 of at most 8 pairs"
    assert (line.text, line.style) == ("pending", "changed")


@pytest.mark.parametrize("state", [FAILED, CANCELLED])
def test_one_without_a_verdict_says_its_state(state: str) -> None:
    assert trials.lines(trial(None, state=state))[0].text == state


def test_pairs_that_diverged_are_counted() -> None:
    facts = {"effect": None, "low": None, "high": None, "pairs": 4, "diverged": 3}
    (line,) = trials.lines(trial(verdict("hurts", **facts)))
    assert (line.text, line.interval, line.pairs) == ("hurts", "", 4)


def test_trials_are_looked_up_by_group_and_by_node_where_a_settled_one_stands() -> None:
    old = trial(verdict("helps"), subject="n", id="old", group_id="g1")
    new = trial(None, state=RUNNING, subject="n", id="new", group_id="g2")
    other = trial(verdict("hurts"), verdict("none"), id="other", group_id="g3")
    tried = Tried.of([old, new, other])
    assert tried.by_node["n"].id == "old"
    assert [line.words for line in tried.by_group["g3"]] == ["hurts", "no effect shown"]
    assert set(tried.by_group) == {"g1", "g2", "g3"}


def test_a_pair_has_the_names_of_the_branches_that_exist() -> None:
    (row,) = trials.pair_rows(trial(verdict("helps"), pairs=(DONE_PAIR,)), 0, {"b1": "renamed"})
    assert row.control is not None and row.changed is not None
    assert (row.control.branch, row.changed.branch) == ("renamed", "")
    assert (row.text, row.is_complete) == ("−0.100", True)


@pytest.mark.parametrize(
    ("sides", "text", "is_complete"),
    [
        ((Side("l", "b", "c", ORDERED), Side("l", "b", "t", DONE, 1.0)), "not yet", False),
        ((Side("l", "b", "c", DONE, 1.0), None), "", False),
        (
            (Side("l", "b", "c", DONE, 1.0), Side("l", "b", "t", DIVERGED)),
            "diverged with the change",
            True,
        ),
        (
            (Side("l", "b", "c", "failed"), Side("l", "b", "t", DONE, 1.0)),
            "failed without it",
            False,
        ),
    ],
)
def test_a_pair_without_a_difference_says_why(sides: Any, text: str, is_complete: bool) -> None:
    rows = trials.pair_rows(trial(None, pairs=(pair(1, *sides),)), 0, {})
    assert (rows[0].text, rows[0].difference) == (text, None)
    assert trials.done_pairs(rows) == is_complete


def test_a_form_for_more_repeats_has_all_that_was_ordered() -> None:
    record = trial(verdict("inconclusive", more=5), verdict("helps"), margin=0.01)
    assert trials.more_repeats(record, 100) == {
        "steps": "50",
        "repeats": "13",
        "metric": "loss",
        "margin": "0.01",
        "at": "b2",
        "settings": "lr=x2,x3",
    }


def test_more_repeats_are_twice_as_many_where_nothing_is_missing_and_never_too_many() -> None:
    assert trials.more_repeats(trial(verdict("helps")), 100)["repeats"] == "16"
    assert trials.more_repeats(trial(verdict("helps"), repeats=80), 100)["repeats"] == "100"


def test_the_change_of_a_node_and_nothing_at_all_are_ordered_again_as_such() -> None:
    own = trials.more_repeats(trial(verdict("helps"), subject="n"), 100)
    same = trials.more_repeats(trial(verdict("none"), kind=SAME), 100)
    assert own["intervention"] == "1" and "settings" not in own
    assert same["same"] == "1" and "settings" not in same
