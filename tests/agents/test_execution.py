"""Decisions carried out as far as an agent's mode and budget allow."""

from __future__ import annotations

import math
from typing import Any

import pytest

from branchtrack.agents.execution import Outcome, actor_of, size_of
from branchtrack.checkpoints.packs import Store
from branchtrack.core.agents.decisions import Act, Fork, Nothing, Rollback, Set, Try
from branchtrack.core.trials.records import Trial
from branchtrack.db import audit
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches, trials
from tests.agents.benches import executor, hired, look, requests_of
from tests.control.trials import samples
from tests.core.agents.seen import nodes as seen_nodes
from tests.core.agents.seen import view
from tests.trees_for_tests import Tree, make_forked_tree, make_tree

HALVED = Try(node="demo@10", settings={"lr": "x0.5"}, steps=5, repeats=4, reason="is it flat?")
LOWER = Set(values={"lr": 0.001}, reason="it is flat")


def carry_out(
    database: Database, store: Store, decision: Any, key: str = "1", **facts: Any
) -> Outcome:
    agent = facts.pop("agent", None) or hired(database, **facts)
    return executor(database, store).carry_out(agent, look(database), decision, key)


def test_to_act_is_a_request_in_the_name_of_the_agent(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    agent = hired(database)
    outcome = carry_out(database, store, LOWER, agent=agent)
    (request,) = requests_of(tree)
    assert (outcome.kind, outcome.request_id) == ("acted", request.id)
    assert (request.state, request.actor, request.agent_id) == (
        "accepted",
        "guard (policy)",
        agent.id,
    )
    assert request.conditions == {"only_if": {"lr": 0.01}}
    assert carry_out(database, store, LOWER, agent=agent).request_id == request.id
    assert len(requests_of(tree)) == 1


def test_to_propose_waits_for_a_person(database: Database, store: Store) -> None:
    tree, nodes = make_forked_tree(database, store)
    agent = hired(database, mode="propose")
    assert carry_out(database, store, LOWER, agent=agent).kind == "proposed"
    fork = Fork(node=nodes[1].id, settings={"lr": 0.5}, reason="why")
    assert carry_out(database, store, fork, agent=agent).kind == "proposed"
    assert [request.state for request in requests_of(tree)] == ["proposed"] * 2


def test_to_observe_asks_for_nothing_and_is_recorded(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    odd = Set(values={"lr": math.nan, "a\x00": "\ud800", "b": 2**80}, reason="x\x00")
    agent = hired(database, mode="observe")
    for decision in (LOWER, odd):
        assert carry_out(database, store, decision, agent=agent).kind == "observed"
    assert requests_of(tree) == []
    with database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None


def test_a_fork_in_act_is_a_launch_and_a_request_that_names_it(
    sqlite_database: Database, store: Store
) -> None:
    tree, nodes = make_forked_tree(sqlite_database, store)
    outcome = carry_out(sqlite_database, store, Fork(node=nodes[1].id, reason="why"))
    with sqlite_database.read() as connection:
        launch = launches.get(connection, outcome.launch_id or "")
    assert launch.actor == "guard (policy)"
    (request,) = requests_of(tree)
    assert (request.state, request.result) == ("done", {"launch": launch.id})


@pytest.mark.parametrize(
    "decision",
    [
        Set(values={"lr": -1}, reason="why"),
        Set(values={"speed": 1}, reason="why"),
        Set(values={"lr": 0.1}, branch="nobody", reason="why"),
        Act(action="stop", branch="../other", reason="why"),
        Rollback(node="ffffffff", reason="why"),
        Fork(node="ffffffff", reason="why"),
        Fork(node="\x00 drop table", reason="why"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_raised(
    sqlite_database: Database, store: Store, decision: Any
) -> None:
    tree = make_tree(sqlite_database, store)
    outcome = carry_out(sqlite_database, store, decision)
    assert outcome.kind == "refused" and outcome.error
    assert {request.state for request in requests_of(tree)} <= {"rejected"}


@pytest.mark.parametrize("mode", ["observe", "propose", "act"])
@pytest.mark.parametrize("kind", [Fork, Rollback, Try])
def test_nodes_of_other_runs_are_out_of_reach(
    sqlite_database: Database, store: Store, kind: Any, mode: str
) -> None:
    make_tree(sqlite_database, store)
    other = make_tree(sqlite_database, store, name="secret")
    node = other.node("main", 0, kind="root")
    more = {"settings": {"lr": 1}} if kind is Try else {}
    outcome = carry_out(sqlite_database, store, kind(node=node.id, reason="why", **more), mode=mode)
    why = "mode act" if kind is Try and mode == "propose" else "no node of demo"
    assert outcome.kind == "refused" and why in (outcome.error or "")
    assert requests_of(other) == []


def test_beyond_its_budget_an_agent_asks_for_nothing(
    sqlite_database: Database, store: Store
) -> None:
    tree, nodes = make_forked_tree(sqlite_database, store)
    agent = hired(sqlite_database, budget={"branches": 0, "per_1000_steps": 0})
    for decision in (LOWER, Fork(node=nodes[1].id, reason="why")):
        outcome = carry_out(sqlite_database, store, decision, agent=agent)
        assert outcome.kind == "refused"
    assert requests_of(tree) == []


def trials_of(tree: Tree) -> list[Trial]:
    with tree.database.read() as connection:
        return trials.of_run(connection, tree.run.id)


def test_a_trial_in_act_is_ordered_in_the_name_of_the_agent(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = samples.grown(sqlite_database, store)
    outcome = carry_out(sqlite_database, store, HALVED)
    (trial,) = trials_of(tree)
    assert (outcome.kind, outcome.trial_id) == ("acted", trial.id)
    assert (outcome.branches, outcome.steps) == (1, 4 * 2 * 5)
    assert (trial.actor, trial.reason, trial.state) == (
        "guard (policy)",
        "is it flat?",
        "running",
    )
    (request,) = requests_of(tree)
    assert (request.id, request.state, request.result) == (
        outcome.request_id,
        "done",
        {"trial": trial.id},
    )


def test_several_values_are_one_trial_that_trains_more(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = samples.grown(sqlite_database, store)
    two = HALVED.model_copy(update={"settings": {"lr": ["x0.5", "x3"]}})
    assert carry_out(sqlite_database, store, two).steps == 4 * 3 * 5
    assert requests_of(tree)[0].requested["trial"]["changes"] == ["lr=x0.5", "lr=x3"]
    assert len(trials_of(tree)) == 1


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"budget": {"steps": 39}}, "40 of 39 steps"),
        ({"budget": {"branches": 0}}, "1 of 0 branches"),
        ({"mode": "propose"}, "in the mode act"),
    ],
)
def test_a_trial_beyond_its_budget_or_mode_is_refused(
    sqlite_database: Database, store: Store, facts: Any, words: str
) -> None:
    tree, _nodes = samples.grown(sqlite_database, store)
    outcome = carry_out(sqlite_database, store, HALVED, **facts)
    assert outcome.kind == "refused" and words in (outcome.error or "")
    assert trials_of(tree) == [] and requests_of(tree) == []


def test_a_trial_within_its_budget_is_ordered(sqlite_database: Database, store: Store) -> None:
    tree, _nodes = samples.grown(sqlite_database, store)
    budget = {"steps": 40, "branches": 1}
    assert carry_out(sqlite_database, store, HALVED, budget=budget).kind == "acted"
    assert len(trials_of(tree)) == 1


def test_a_trial_in_observe_is_only_noted(sqlite_database: Database, store: Store) -> None:
    tree, _nodes = samples.grown(sqlite_database, store)
    assert carry_out(sqlite_database, store, HALVED, mode="observe").kind == "observed"
    assert trials_of(tree) == []
    with sqlite_database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"node": "ffffffff"},
        {"settings": {"speed": 1}},
        {"settings": {"stop_at": 12}},
        {"settings": {"lr": -1}},
        {"steps": 5000},
        {"metric": "nothing"},
    ],
)
def test_what_cannot_be_tried_is_refused(
    sqlite_database: Database, store: Store, changed: Any
) -> None:
    tree, _nodes = samples.grown(sqlite_database, store)
    outcome = carry_out(sqlite_database, store, HALVED.model_copy(update=changed))
    assert outcome.kind == "refused" and outcome.error
    assert trials_of(tree) == []


def test_nothing_is_nothing(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    assert carry_out(sqlite_database, store, Nothing(reason="fine")).kind == "nothing"


def test_the_actor_says_what_kind_of_agent_asks(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    agent = hired(sqlite_database, policy="llm", name="coach")
    assert actor_of(agent).label == "coach (llm)" and actor_of(agent).role == "agent"


@pytest.mark.parametrize(
    ("decision", "size"),
    [
        (LOWER, (0, 0)),
        (Rollback(node="node-10", reason="w"), (1, 0)),
        (Fork(node="node-10", reason="w"), (1, 990)),
        (Fork(node="node-10", settings={"max_steps": 50}, reason="w"), (1, 40)),
        (Fork(node="node-10", settings={"max_steps": True}, reason="w"), (1, 0)),
        (Fork(node="elsewhere", reason="w"), (1, 0)),
    ],
)
def test_the_size_of_a_decision_is_counted(decision: Any, size: tuple[int, int]) -> None:
    assert size_of(view(nodes=seen_nodes(10)), decision) == size
