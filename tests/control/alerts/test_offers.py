"""The fork that would mend a problem begins at the newest node that is known to be well."""

from __future__ import annotations

import math

import pytest

from branchtrack.control.alerts import offers
from branchtrack.control.alerts.offers import Problem
from branchtrack.db import runs
from branchtrack.db.engine import Database
from tests.control.alerts.conftest import Forked


def offered(database: Database, problem: Problem, branch: str = "demo/main") -> dict[str, object]:
    with database.read() as connection:
        offer = offers.offer(connection, runs.find_branch(connection, branch), problem)
    return offer or {}


@pytest.mark.parametrize(
    ("after", "step"),
    [
        # The loss of update 21 shows the weights after update 20, and that of update 20 does not.
        (21, 20),
        (20, 10),
        (30, 20),
        (31, 30),
        (1, 0),
    ],
)
def test_a_node_is_well_if_a_later_loss_shows_it(
    database: Database, forked: Forked, after: int, step: int
) -> None:
    offer = offered(database, Problem("nan", after + 1, "loss", after))
    assert offer["step"] == step and offer["settings"] == {"lr": "x0.5"}
    assert offer["name"] == "main-2"


def test_an_evaluation_shows_the_weights_of_its_own_step(
    database: Database, forked: Forked
) -> None:
    assert offered(database, Problem("spike", 30, "eval_loss", 20))["step"] == 20


def test_the_line_is_followed_across_a_fork(database: Database, forked: Forked) -> None:
    _tree, nodes = forked
    offer = offered(database, Problem("nan", 16, "loss", 15), "demo/cooler")
    assert offer["node"] == nodes[4].id
    assert offered(database, Problem("nan", 9, "loss", 8), "demo/cooler")["node"] == nodes[0].id


def test_a_node_whose_own_metrics_are_not_finite_is_passed_over(
    database: Database, forked: Forked
) -> None:
    tree, nodes = forked
    tree.node("main", 40, nodes[3], values={"loss": 1.0, "grad_norm": math.nan})
    assert offered(database, Problem("spike", 60, "loss", 59))["step"] == 30


def test_where_nothing_was_well_nothing_is_offered(database: Database, forked: Forked) -> None:
    assert offered(database, Problem("nan", 1, "loss", 0)) == {}
    assert offered(database, Problem("target", 1, "loss")) == {}
    assert offered(database, Problem("script", 1)) == {}


@pytest.mark.parametrize("kind", ["stall", "crash", "disk"])
def test_what_was_interrupted_goes_on_from_its_last_node(
    database: Database, forked: Forked, kind: str
) -> None:
    offer = offered(database, Problem(kind, 35))
    assert offer["step"] == 30 and offer["settings"] == {}


def test_a_plateau_is_left_with_half_the_rate(database: Database, forked: Forked) -> None:
    offer = offered(database, Problem("plateau", 30, "eval_loss"))
    assert offer["step"] == 30 and offer["settings"] == {"lr": "x0.5"}


def test_a_node_without_a_rate_is_offered_as_it_is(database: Database, forked: Forked) -> None:
    tree, nodes = forked
    tree.node("main", 40, nodes[3], settings={"lr": None})
    assert offered(database, Problem("plateau", 41, "loss"))["settings"] == {}
