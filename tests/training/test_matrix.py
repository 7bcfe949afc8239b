"""Resumed from any node, in every way of feeding it, a training ends in the same bits and losses.

A few cases that cover every value run with every change, and those that cover every pair of values
in `make test-all`, resumed from every second step. With ``BRANCHTRACK_MATRIX=all`` all cases run,
from every step.
"""

from __future__ import annotations

import os

import pytest

from tests.matrices import some
from tests.training import matrix
from tests.training.homes import Home

ALL = os.environ.get("BRANCHTRACK_MATRIX") == "all"
CASES = matrix.cases() if ALL else some(matrix.covering(), *matrix.representative())
LOGGED = ("loss", "grad_norm", "learning_rate", "eval_loss")
#: A node at every step of one training is enough.
SAVE_LESS = {"save_steps": 1000}


@pytest.mark.parametrize("case", CASES, ids=matrix.name_of)
def test_every_case_resumes_exactly(case: matrix.Case, home: Home) -> None:
    how = matrix.how(case)
    home.train(**how)
    whole, final = home.segment().id, home.final()
    logged = {metric: home.points(metric, whole) for metric in LOGGED}
    assert final.kind == "final" and len(home.nodes()) == how["max_steps"] + 1
    for node in home.nodes()[: -1 : 1 if ALL else 2]:
        launch = home.order(node, SAVE_LESS)
        home.train(launch, **how)
        assert home.final(launch).state_digest == final.state_digest, f"weights from {node.step}"
        for metric, points in logged.items():
            rest = {step: value for step, value in points.items() if step > node.step}
            assert home.points(metric, launch.segment_id) == rest, f"{metric} from {node.step}"
