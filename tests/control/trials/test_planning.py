"""A trial is planned from what is asked for, or refused with what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.control.trials.planning import (
    PlannedTrial,
    TrialOrder,
    plan_trial,
    side_settings,
)
from branchtrack.core.records import Change
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput, NotFound
from tests.control.trials import samples


@pytest.fixture(autouse=True)
def _run(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)


def planned(database: Database, **order: Any) -> PlannedTrial:
    made: dict[str, Any] = {"nodes": ["demo@10"], "steps": 5, **order}
    with database.read() as connection:
        return plan_trial(connection, TrialOrder(**made))


def refused(database: Database, **order: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        planned(database, **order)
    return caught.value


def test_a_change_is_an_arm_beside_the_control(sqlite_database: Database) -> None:
    plan = planned(sqlite_database, settings={"lr": "x0.5"})
    assert [arm.label for arm in plan.spec.arms] == ["lr=x0.5"]
    assert (plan.spec.repeats, plan.spec.at, plan.spec.metric) == (8, (4, 6, 8), "eval_loss")
    assert plan.group == "trial-lr-x0.5"
    assert plan.spec.most_steps == 8 * 2 * 5


def test_a_list_or_a_grid_is_one_change_for_each_combination(sqlite_database: Database) -> None:
    several = planned(sqlite_database, settings={"lr": "x0.5,x2"})
    assert [arm.settings for arm in several.spec.arms] == [{"lr": "x0.5"}, {"lr": "x2"}]
    assert several.group == "trial-lr"
    grid = planned(sqlite_database, grid={"lr": "x0.5,x2", "weight_decay": "0,0.1"})
    assert len(grid.spec.arms) == 4


def test_both_sides_of_a_pair_draw_from_one_seed_and_stop_at_one_step(
    sqlite_database: Database,
) -> None:
    spec = planned(sqlite_database, settings={"lr": "x0.5"}).spec
    assert side_settings(spec, 10, 0, 7) == {"seed": 7, "reshuffle": True, "stop_at": 15}
    assert side_settings(spec, 10, 1, 7)["lr"] == "x0.5"


def test_the_control_of_an_intervention_is_the_road_not_taken(sqlite_database: Database) -> None:
    plan = planned(sqlite_database, nodes=["demo@20"], intervention=True)
    assert plan.spec.control == {"lr": 0.01} and plan.spec.arms[0].settings == {}
    assert plan.subject == plan.nodes[0].id


def test_the_change_of_a_fork_is_tried_from_its_parent(
    sqlite_database: Database, store: Store
) -> None:
    tree, (_root, ten, _twenty) = samples.grown(sqlite_database, store, "other")
    tree.branch("cooler", ten)
    change = (Change("lr", 0.01, 0.001),)
    fork = tree.node("cooler", 10, ten, kind="fork", changes=change, settings=samples.OWN)
    plan = planned(sqlite_database, nodes=[fork.id], intervention=True)
    assert (plan.spec.nodes, plan.subject) == ((ten.id,), fork.id)
    assert (plan.spec.control, plan.spec.arms[0].settings) == ({}, {"lr": 0.001})


def test_what_changes_nothing_has_one_arm_without_settings(sqlite_database: Database) -> None:
    plan = planned(sqlite_database, same=True)
    assert (plan.kind, plan.group, plan.spec.arms[0].settings) == ("aa", "trial-aa", {})


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({}, "settings"),
        ({"settings": {"lr": "x2"}, "same": True}, "settings"),
        ({"settings": {"seed": 3}}, "seed"),
        ({"settings": {"stop_at": 12}}, "stop_at"),
        ({"settings": {"lr": "x2"}, "repeats": 0}, "repeats"),
        ({"settings": {"lr": "x2"}, "repeats": 101}, "repeats"),
        ({"settings": {"lr": "x2"}, "steps": 0}, "steps"),
        ({"settings": {"lr": "x2"}, "metric": "accuracy"}, "metric"),
        ({"settings": {"lr": "x2"}, "margin": "much"}, "margin"),
        ({"settings": {"lr": "x2"}, "margin": -1}, "margin"),
        ({"settings": {"lr": "x2"}, "margin": "nan"}, "margin"),
        ({"settings": {"lr": "x2"}, "margin": "1_0"}, "margin"),
        ({"settings": {"lr": "x2"}, "name": "a name"}, "name"),
        ({"settings": {"lr": "x2"}, "nodes": []}, "node"),
        ({"settings": {"lr": "x2"}, "nodes": ["demo@10", "demo@10"]}, "node"),
        ({"nodes": ["demo@10"], "intervention": True}, "intervention"),
    ],
)
def test_what_cannot_be_tried_is_refused_by_its_field(
    sqlite_database: Database, order: dict[str, Any], field: str
) -> None:
    assert refused(sqlite_database, **order).field == field


def test_a_node_that_is_not_there_is_not_tried(sqlite_database: Database) -> None:
    with pytest.raises(NotFound):
        planned(sqlite_database, nodes=["feedfeed"], settings={"lr": "x2"})


def test_more_updates_than_are_left_are_refused_with_how_many_are(
    sqlite_database: Database,
) -> None:
    error = refused(sqlite_database, settings={"lr": "x2"}, steps=991)
    assert error.field == "steps" and "1 to 990" in str(error)


def test_a_margin_may_be_a_share_of_the_metric_at_the_node(sqlite_database: Database) -> None:
    plan = planned(sqlite_database, settings={"lr": "x2"}, margin="0.5%")
    assert plan.spec.margin == pytest.approx(0.01)


def test_nodes_of_several_runs_are_refused(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store, "other")
    error = refused(sqlite_database, nodes=["demo@10", "other@10"], settings={"lr": "x2"})
    assert "one run" in str(error)
