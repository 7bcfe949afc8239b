"""Resumed from any node, in every way of feeding it, a training ends in the same bits and losses.

A few cases that cover every value run with every change, resumed within a pass; those that cover
every pair of values are exhaustive, and with ``BRANCHTRACK_MATRIX=all``, as in `make test-all`,
all cases. These are resumed from every third step, beginning with another one from case to case.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.training import matrix
from tests.training.homes import Home

ALL = os.environ.get("BRANCHTRACK_MATRIX") == "all"
LOGGED = ("loss", "grad_norm", "learning_rate", "eval_loss")
#: A node at every step of one training is enough.
SAVE_LESS = {"save_steps": 1000}
#: Updates that go on into another pass for each accumulation, and the updates between nodes.
SHORT = {1: (9, 4), 3: (4, 2), 4: (4, 3)}


def resumes_exactly(home: Home, how: dict[str, Any], chosen: slice) -> None:
    """Train, and resume some of the nodes: the same final state and the same values logged."""
    home.train(**how)
    whole, final = home.segment().id, home.final()
    logged = {metric: home.points(metric, whole) for metric in LOGGED}
    assert (final.kind, final.step) == ("final", how["max_steps"])
    nodes = home.nodes()[:-1]
    assert [node.step for node in nodes] == list(range(0, final.step, how["save_steps"]))
    for node in nodes[chosen]:
        launch = home.order(node, SAVE_LESS)
        home.train(launch, **how)
        assert home.final(launch).state_digest == final.state_digest, f"weights from {node.step}"
        for metric, points in logged.items():
            rest = {step: value for step, value in points.items() if step > node.step}
            assert home.points(metric, launch.segment_id) == rest, f"{metric} from {node.step}"


@pytest.mark.parametrize("case", matrix.representative(), ids=matrix.name_of)
def test_a_case_of_every_value_resumes_exactly(case: matrix.Case, home: Home) -> None:
    steps, every = SHORT[case["accumulation"]]
    how = {**matrix.how(case), "max_steps": steps, "save_steps": every}
    resumes_exactly(home, how, slice(1, None))


CASES = list(matrix.cases() if ALL else matrix.covering())


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: matrix.name_of(CASES[n]))
def test_every_case_resumes_exactly(number: int, home: Home) -> None:
    resumes_exactly(home, matrix.how(CASES[number]), slice(number % 3, None, 3))
