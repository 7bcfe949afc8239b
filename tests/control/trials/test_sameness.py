"""Pairs of which one side ran other code than the other are no pairs."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.advancing import advance
from branchtrack.control.trials.ordering import create_trial
from branchtrack.control.trials.planning import TrialOrder
from branchtrack.core.trials.records import FAILED, SETTLED, Trial
from branchtrack.db import nodes, segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR

CODE: dict[str, Any] = {
    "executable": "/bin/python",
    "sources": {"train.py": "a", "model.py": "b"},
    "imported": {"torch": "2.13.0", "branchtrack": "0.1.0"},
}


@pytest.fixture
def trial(database: Database, store: Store) -> Trial:
    samples.grown(database, store)
    return samples.ordered(database, store)


def trained(database: Database, store: Store, trial: Trial, *codes: dict[str, Any]) -> Trial:
    """The trial once its first trainings have ended, which ran these codes, the last one so on."""
    for pair, row in zip(samples.open_pairs(trial), CLEAR, strict=True):
        for side, value in zip(pair.sides, row, strict=True):
            samples.train(database, store, side.launch, value)
    sides = [side for pair in trial.pairs for side in pair.sides if side is not None]
    with database.transaction() as connection:
        for number, side in enumerate(sides):
            launch = launches.get(connection, side.launch)
            code = codes[min(number, len(codes) - 1)]
            segments.set_code(connection, launch.segment_id, code)
    return advance(database, store, trial.id)


def test_trainings_of_one_code_are_judged(database: Database, store: Store, trial: Trial) -> None:
    newer = {**CODE, "imported": {**CODE["imported"], "branchtrack": "9"}, "sources": {}}
    assert trained(database, store, trial, CODE, newer).state == SETTLED


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"sources": {"train.py": "a", "model.py": "c"}}, "model.py"),
        ({"imported": {"torch": "2.14.0"}}, "torch"),
    ],
)
def test_a_file_or_package_that_changed_meanwhile_fails_the_trial(
    database: Database, store: Store, trial: Trial, other: dict[str, Any], name: str
) -> None:
    ended = trained(database, store, trial, CODE, CODE, CODE, {**CODE, **other})
    assert ended.state == FAILED and ended.error.startswith(f"{name} changed while it trained")
    assert [verdict.verdict for verdict in ended.verdicts if verdict] == ["inconclusive"]


def test_packages_of_another_interpreter_are_not_compared(
    database: Database, store: Store, trial: Trial
) -> None:
    other = {**CODE, "executable": "/opt/python", "imported": {"torch": "2.14.0"}}
    assert trained(database, store, trial, CODE, other).state == SETTLED


@pytest.mark.parametrize(("allowed", "state"), [(False, FAILED), (True, SETTLED)])
def test_what_led_to_the_node_counts_unless_a_change_was_allowed(
    database: Database, store: Store, allowed: bool, state: str
) -> None:
    samples.grown(database, store)
    order = TrialOrder(["demo@10"], {"lr": "x0.5"}, steps=5, repeats=4, metric="eval_loss")
    trial = create_trial(database, store, order, actor="ann", allow_code_change=allowed)
    with database.transaction() as connection:
        start = nodes.get(connection, trial.spec.nodes[0])
        segments.set_code(connection, start.segment_id, {**CODE, "sources": {"train.py": "z"}})
    assert trained(database, store, trial, CODE).state == state
