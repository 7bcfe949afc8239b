"""Values that branchtrack would not write into a row are refused before they are in a home."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from branchtrack.bundles import shapes
from branchtrack.core.trials.outcomes import judged
from tests.core.trials import made_up
from tests.core.trials.test_outcomes import ROWS

RUN: dict[str, Any] = {
    "id": "a" * 16,
    "name": "demo",
    "default_branch": "main",
    "entry_point": '{"argv": ["python", "train.py"], "cwd": "/x", "env": {}}',
    "tags": '["good"]',
    "notes": "fine",
    "created_at": 1.0,
    "updated_at": 2.0,
}
SEGMENT: dict[str, Any] = {
    "status": "finished",
    "step": 5,
    "position": 0,
    "declared": "[]",
    "settings": "{}",
    "offers": "{}",
    "started_at": 1.0,
}


def test_what_branchtrack_writes_has_no_fault() -> None:
    assert shapes.fault("runs", RUN) == ""
    assert shapes.fault("segments", SEGMENT) == ""
    assert shapes.fault("runs", {**RUN, "entry_point": "null"}) == ""


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("tags", '"5"', "tags is not of the form"),
        ("entry_point", '{"argv": "x"}', "entry_point is not of the form"),
        ("name", "../../x", "name is no valid name"),
        ("created_at", 1e300, "created_at is no time"),
        ("updated_at", float("nan"), "updated_at is no time"),
        ("notes", "a\x00b", "character that no database can hold"),
    ],
)
def test_other_values_of_a_run_are_refused(column: str, value: Any, words: str) -> None:
    assert words in shapes.fault("runs", {**RUN, column: value})


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("declared", "[1, 2]", "declared is not of the form"),
        ("declared", '[{"title": "lr"}]', "declared is not of the form"),
        ("settings", "[]", "settings is not of the form"),
        ("status", "zzz", "status is none that it can have"),
        ("step", -5, "step is negative"),
    ],
)
def test_other_values_of_a_segment_are_refused(column: str, value: Any, words: str) -> None:
    assert words in shapes.fault("segments", {**SEGMENT, column: value})


def trial_row(**changes: Callable[[Any], Any]) -> dict[str, Any]:
    """A row of a trial as a bundle has it; ``changes`` make other JSON of some columns."""
    trial = made_up.trial(None, *[row[:2] for row in ROWS])
    row = {**trial.row(), "verdicts": [judged(trial, trial.pairs)[0].as_dict()]}
    for column in ("spec", "pairs", "verdicts"):
        value = json.loads(json.dumps(row[column]))
        row[column] = json.dumps(changes.get(column, lambda same: same)(value))
    return row


def test_a_trial_has_no_fault() -> None:
    assert shapes.fault("trials", trial_row()) == ""


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("spec", lambda spec: {**spec, "extra": 1}),
        ("spec", lambda spec: {**spec, "arms": [{**spec["arms"][0], "extra": 1}]}),
        ("spec", lambda spec: {**spec, "steps": "50"}),
        ("spec", lambda spec: {**spec, "steps": True}),
        ("spec", lambda spec: {**spec, "levels": []}),
        ("spec", lambda spec: {**spec, "arms": []}),
        ("spec", lambda spec: {k: v for k, v in spec.items() if k != "metric"}),
        ("spec", lambda spec: []),
        ("spec", lambda spec: None),
        ("pairs", lambda pairs: [{**pairs[0], "extra": 1}]),
        ("pairs", lambda pairs: [{**pairs[0], "sides": pairs[0]["sides"][:1]}]),
        ("pairs", lambda pairs: [{**pairs[0], "sides": [{**pairs[0]["sides"][0], "x": 1}] * 2}]),
        ("pairs", lambda pairs: [{**pairs[0], "seed": "7"}]),
        ("pairs", lambda pairs: {"0": pairs[0]}),
        ("verdicts", lambda verdicts: [{**verdicts[0], "extra": 1}]),
        ("verdicts", lambda verdicts: [{**verdicts[0], "verdict": "great"}]),
        ("verdicts", lambda verdicts: []),
        ("verdicts", lambda verdicts: [{**verdicts[0], "pairs": "4"}]),
    ],
)
def test_a_trial_that_could_not_be_read_is_refused(column: str, change: Any) -> None:
    assert "not of the form" in shapes.fault("trials", trial_row(**{column: change}))


@pytest.mark.parametrize("facts", [{"kind": "other"}, {"state": "lost"}])
def test_words_that_no_trial_has_are_refused(facts: dict[str, str]) -> None:
    assert shapes.fault("trials", {**trial_row(), **facts})
