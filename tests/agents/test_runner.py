"""Agents at work: one round after the other, and on after a crash."""

from __future__ import annotations

import threading
import time

import pytest

from branchtrack import control
from branchtrack.agents import runner as runners
from branchtrack.checkpoints.packs import Store
from branchtrack.control.proposals import agent_orders
from branchtrack.core.agents.decisions import Act, Decision, Fork, Nothing, Set, Try
from branchtrack.core.records import Request
from branchtrack.db import requests
from branchtrack.db.engine import Database
from tests.agents.benches import Deciding, again, executor, hired, look, requests_of, runner
from tests.control.trials import samples
from tests.trees_for_tests import Tree, make_forked_tree, make_tree

LOWER = Set(values={"lr": 0.001}, reason="it is flat")


def advance(tree: Tree, upto: int) -> None:
    """Let some points come, which is something new to look at."""
    first = max(look(tree.database).curve("loss").steps, default=0) + 1
    tree.points("main", "loss", range(first, upto + 1))


def answer(database: Database, request: Request, *states: str) -> None:
    with database.transaction() as connection:
        for state in states:
            requests.move(connection, request.id, state, actor="run", step=1)


def test_after_a_request_it_waits_for_what_came_of_it(database: Database, store: Store) -> None:
    tree, lines = make_tree(database, store), []
    controller = Deciding([LOWER], [LOWER])
    agent = hired(database)
    works = runner(database, store, agent, controller, lines)
    works._work()
    advance(tree, 3)
    works._work()
    (request,) = requests_of(tree)
    assert len(controller.lists) == 1
    assert again(database, agent).spent["interventions"] == 1
    answer(database, request, "applied", "verified")
    works._work()
    works._work()
    assert any("verified" in line for line in lines)
    assert len(requests_of(tree)) == 2, lines


def test_a_proposal_that_is_declined_makes_it_quiet_for_a_while(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    controller = Deciding([LOWER], [LOWER])
    works = runner(sqlite_database, store, hired(sqlite_database, mode="propose"), controller, [])
    works._work()
    (request,) = requests_of(tree)
    control.decline(sqlite_database, request.id, actor="ann")
    for step in (3, 4):
        advance(tree, step)
        works._work()
    assert len(requests_of(tree)) == 1 and len(controller.lists) == 1


def test_what_follows_a_refusal_is_not_asked_for(sqlite_database: Database, store: Store) -> None:
    tree, _nodes = make_forked_tree(sqlite_database, store)
    pair: list[Decision] = [
        Fork(node="ffffffff", reason="why"),
        Act(action="stop", branch="cooler", reason="why"),
    ]
    controller = Deciding(pair)
    runner(sqlite_database, store, hired(sqlite_database), controller, [])._work()
    assert [outcome.kind for outcome in controller.outcomes[0]] == ["refused"]
    assert requests_of(tree) == []


def test_what_a_dead_process_could_not_note_is_taken_over(database: Database, store: Store) -> None:
    tree, nodes = make_forked_tree(database, store)
    agent = hired(database)
    # It dies between the request and its note of it.
    executor(database, store).carry_out(agent, look(database), LOWER, "1:0")
    fork = Fork(node=nodes[1].id, name="next", reason="why")
    executor(database, store).carry_out(agent, look(database), fork, "2:0")
    controller = Deciding([LOWER])
    works = runner(database, store, again(database, agent), controller, [])
    works._adopt()
    works._work()
    assert len(requests_of(tree)) == 2 and len(controller.lists) == 1
    spent = again(database, agent).spent
    assert (spent["interventions"], spent["branches"]) == (2, 1)
    # Started once more, it counts nothing twice.
    runner(database, store, again(database, agent), controller, [])._adopt()
    assert again(database, agent).spent == spent


def test_it_ends_when_it_is_stopped_or_has_used_up_its_budget(
    sqlite_database: Database, store: Store
) -> None:
    make_tree(sqlite_database, store)
    agent = hired(sqlite_database)
    agent_orders.stop(sqlite_database, agent.id, actor="ann")
    ended = runner(sqlite_database, store, agent, Deciding(), []).run(threading.Event())
    assert (ended.state, ended.note) == ("stopped", "ann stopped it.")
    spent = hired(sqlite_database, name="b", budget={"interventions": 0})
    ended = runner(sqlite_database, store, spent, Deciding([LOWER]), []).run(threading.Event())
    assert ended.state == "exhausted" and "interventions" in ended.note


def test_it_ends_some_time_after_the_training(
    sqlite_database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(runners, "LOOK_SECONDS", 0.01)
    tree = make_tree(sqlite_database, store)
    tree.end("main")
    agent = hired(sqlite_database)
    ended = runner(sqlite_database, store, agent, Deciding(), []).run(threading.Event())
    assert (ended.state, ended.note) == ("ended", "demo/main is finished.")


def test_a_signal_ends_it_and_a_fault_is_recorded(sqlite_database: Database, store: Store) -> None:
    make_tree(sqlite_database, store)
    stop = threading.Event()
    stop.set()
    agent = hired(sqlite_database)
    assert runner(sqlite_database, store, agent, Deciding(), []).run(stop).state == "stopped"

    class Faulty(Deciding):
        def decide(self, *_: object) -> list[Decision]:
            raise ZeroDivisionError("by zero")

    agent = hired(sqlite_database)
    with pytest.raises(ZeroDivisionError):
        runner(sqlite_database, store, agent, Faulty(), []).run(threading.Event())
    failed = again(sqlite_database, agent)
    assert failed.state == "failed" and "by zero" in failed.note


def test_nothing_new_is_not_looked_at_twice(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    agent, controller = hired(sqlite_database), Deciding([Nothing(reason="fine")])
    works = runner(sqlite_database, store, agent, controller, [])
    for _ in range(3):
        works._work()
    assert again(sqlite_database, agent).memory["controller"]["looks"] == 1
    advance(tree, 2)
    works._work()
    assert again(sqlite_database, agent).memory["controller"]["looks"] == 2


def test_a_proposal_that_nobody_decides_on_expires_while_it_waits(
    sqlite_database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("branchtrack.control.proposals.proposing.PATIENCE", 0.01)
    tree = make_tree(sqlite_database, store)
    agent = hired(sqlite_database, mode="propose")
    works = runner(sqlite_database, store, agent, Deciding([LOWER]), [])
    works._work()
    time.sleep(0.02)
    for _ in range(3):
        works._work()
    assert [request.state for request in requests_of(tree)] == ["expired"]
    assert again(sqlite_database, agent).memory["pending"] == []


def test_the_process_of_an_agent_is_known_by_name() -> None:
    facts = runners.own_process()
    assert facts["process"] == f"{facts['host']}:{facts['pid']}:{facts['process'].split(':')[-1]}"


def test_it_notes_up_to_where_it_has_looked_once_it_has_asked(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    agent, before = hired(sqlite_database), time.time()
    works = runner(sqlite_database, store, agent, Deciding([LOWER]), [])
    advance(tree, 5)
    works._work()
    view, looked = look(sqlite_database), again(sqlite_database, agent).memory["looked"]
    assert (looked["branch"], looked["step"]) == (view.branch, view.step)
    assert before <= looked["began"] <= time.time() and len(requests_of(tree)) == 1


HALVED = Try(node="demo@10", settings={"lr": "x0.5"}, steps=5, repeats=4, reason="is it flat?")


def test_a_trial_counts_what_it_trains_at_most_and_is_not_waited_for(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = samples.grown(sqlite_database, store)
    controller, lines = Deciding([HALVED], [LOWER]), list[str]()
    agent = hired(sqlite_database)
    works = runner(sqlite_database, store, agent, controller, lines)
    works._work()
    spent = again(sqlite_database, agent).spent
    assert (spent["interventions"], spent["branches"], spent["steps"]) == (1, 1, 40)
    advance(tree, 31)
    works._work()
    advance(tree, 32)
    works._work()
    assert controller.lists == [], lines
    assert [request.kind for request in requests_of(tree)] == ["resume", "set"]
    assert again(sqlite_database, agent).memory["branch"] == "main"


def test_a_trial_that_a_killed_process_ordered_is_counted_once(
    sqlite_database: Database, store: Store
) -> None:
    tree, _nodes = samples.grown(sqlite_database, store)
    agent = hired(sqlite_database)
    executor(sqlite_database, store).carry_out(agent, look(sqlite_database), HALVED, "1:0")
    works = runner(sqlite_database, store, agent, Deciding(), [])
    for _ in range(2):
        works._adopt()
    spent = again(sqlite_database, agent).spent
    assert (spent["interventions"], spent["branches"], spent["steps"]) == (1, 1, 40)
    works._work()
    assert again(sqlite_database, agent).memory["branch"] == "main"
    assert len(requests_of(tree)) == 1


def test_a_verdict_is_something_new_to_look_at(sqlite_database: Database, store: Store) -> None:
    samples.grown(sqlite_database, store)
    trial = samples.ordered(sqlite_database, store, repeats=3)
    controller = Deciding()
    works = runner(sqlite_database, store, hired(sqlite_database), controller, [])
    works._work()
    works._work()
    assert len(controller.outcomes) == 1
    samples.train_all(sqlite_database, store, trial, [2.0, 1.0], [2.1, 1.2], [2.2, 1.25])
    works._work()
    assert len(controller.outcomes) == 2
