"""Language models as controllers: asked when it is time, and recorded whatever they say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from branchtrack import control
from branchtrack.agents.llm.controller import ModelController, pause_after
from branchtrack.checkpoints.packs import Store
from branchtrack.core.agents.records import Agent, Exchange
from branchtrack.db import requests
from branchtrack.db.engine import Database
from branchtrack.db.tables import segments
from branchtrack.db.watching import agents, exchanges
from branchtrack.errors import InvalidInput
from tests.agents.benches import again, hired, look, requests_of, runner
from tests.agents.llm.endpoints import Asked, Script, answering, completion, saying
from tests.trees_for_tests import Tree, make_tree

LOWER = json.dumps({"action": "set", "values": {"lr": 0.001}, "reason": "it is flat"})


@pytest.fixture
def tree(database: Database, store: Store) -> Tree:
    """A run that this process trains."""
    return make_tree(database, store)


def at_step(tree: Tree, step: int) -> None:
    with tree.database.transaction() as connection:
        chosen = segments.c.id == tree.segment("main").id
        connection.execute(segments.update().where(chosen).values(step=step))


class Coach:
    """An agent with a model behind an endpoint."""

    def __init__(self, tree: Tree, url: str, mode: str = "act", **options: Any) -> None:
        options = {"base_url": url, "model": "small", "timeout": 5, **options}
        self.controller = ModelController.of(options, tree.database)
        self.agent: Agent = hired(
            tree.database, policy="llm", name="coach", mode=mode, options=options
        )
        self.database = tree.database
        self.runner = runner(tree.database, tree.store, self.agent, self.controller, [])

    def work(self) -> list[Exchange]:
        """One round; the exchanges so far, the newest first."""
        self.runner._work()
        with self.database.read() as connection:
            return exchanges.of_agent(connection, self.agent.id)


@pytest.fixture
def endpoint() -> Iterator[Asked]:
    """An endpoint whose model wants a lower rate."""
    body = completion(LOWER, prompt_tokens=1000, completion_tokens=10)
    with answering(saying(body)) as asked:
        yield asked


def test_an_answer_becomes_a_request_that_its_exchange_names(tree: Tree, endpoint: Asked) -> None:
    coach = Coach(tree, endpoint.url, price_in=2, price_out=8)
    (exchange,) = coach.work()
    (request,) = requests_of(tree)
    assert (request.actor, request.requested) == ("coach (llm)", {"values": {"lr": 0.001}})
    assert (exchange.outcome, exchange.request_id) == ("acted", request.id)
    assert exchange.answer == LOWER and exchange.prompt == endpoint[0]["messages"]
    assert (exchange.tokens_in, exchange.tokens_out) == (1000, 10)
    assert exchange.cost == pytest.approx(0.00208)
    spent = again(tree.database, coach.agent).spent
    assert (spent["tokens"], spent["exchanges"], spent["interventions"]) == (1010, 1, 1)
    assert spent["dollars"] == pytest.approx(0.00208)


@pytest.mark.parametrize(("mode", "outcome"), [("observe", "observed"), ("propose", "proposed")])
def test_the_mode_holds_for_a_model(tree: Tree, endpoint: Asked, mode: str, outcome: str) -> None:
    (exchange,) = Coach(tree, endpoint.url, mode).work()
    assert exchange.outcome == outcome
    assert control.poll(tree.database, tree.segment("main").id) == []


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (saying(completion("Lower the rate!")), "malformed"),
        (saying(completion('{"action": "purge", "reason": "x"}')), "malformed"),
        (saying(completion('{"action": "set", "values": {"lr": -5}, "reason": "x"}')), "refused"),
        (
            saying(completion('{"action": "set", "values": {"lr": 1e999}, "reason": "x"}')),
            "refused",
        ),
        (saying(completion('{"action": "stop", "branch": "b", "reason": "x"}')), "refused"),
        (saying(completion('{"action": "nothing", "reason": "fine"}')), "nothing"),
        (saying(completion("\x00\ud800")), "malformed"),
        (
            saying(completion('{"action": "set", "values": {"lr": 1, "lr": 50}, "reason": "x"}')),
            "malformed",
        ),
        (saying(completion(r'{"action": "nothing", "reason": "a\u0000b"}')), "malformed"),
        (saying(b"down", 503), "failed"),
    ],
)
def test_whatever_it_says_is_recorded_and_a_bad_answer_changes_nothing(
    tree: Tree, script: Script, outcome: str
) -> None:
    with answering(script) as asked:
        (exchange,) = Coach(tree, asked.url).work()
    assert exchange.outcome == outcome and exchange.prompt
    assert control.poll(tree.database, tree.segment("main").id) == []
    assert {request.state for request in requests_of(tree)} <= {"rejected"}
    assert bool(exchange.error) == (outcome != "nothing")


def test_it_is_asked_every_so_many_updates_and_after_a_rollback(tree: Tree) -> None:
    with answering(saying(completion('{"action": "nothing", "reason": "fine"}'))) as asked:
        coach = Coach(tree, asked.url, every=10)
        for step, count in ((100, 1), (109, 1), (110, 2), (50, 2), (59, 2), (60, 3)):
            at_step(tree, step)
            assert len(coach.work()) == count, step


def test_what_has_ended_is_not_asked_about(tree: Tree, endpoint: Asked) -> None:
    tree.end("main")
    assert Coach(tree, endpoint.url).work() == [] and endpoint == []


def test_tokens_that_nobody_counted_are_estimated(tree: Tree) -> None:
    with answering(saying(completion('{"action": "nothing", "reason": "fine"}'))) as asked:
        (exchange,) = Coach(tree, asked.url).work()
    assert (exchange.tokens_in or 0) > 200 and (exchange.tokens_out or 0) > 5
    assert exchange.cost is None


def test_a_question_without_an_answer_is_charged(tree: Tree) -> None:
    with answering(saying(b"down", 503)) as asked:
        coach = Coach(tree, asked.url, price_in=2)
        (exchange,) = coach.work()
    assert exchange.outcome == "failed" and (exchange.tokens_in or 0) > 200
    spent = again(tree.database, coach.agent).spent
    assert spent["tokens"] > 200 and spent["dollars"] > 0


def test_out_of_tokens_it_asks_no_more(tree: Tree, endpoint: Asked) -> None:
    coach = Coach(tree, endpoint.url, "observe")
    with tree.database.transaction() as connection:
        budget = {"tokens": 1000}
        agents.update(connection, coach.agent.id, actor="ann", budget=budget)
    coach.work()
    at_step(tree, 500)
    assert coach.runner._work() == ("exhausted", "Its budget of 1000 tokens is used up.")
    assert len(endpoint) == 1


def carried_out(tree: Tree, kind: str) -> None:
    """The training pauses or goes on by the latest request."""
    request = requests_of(tree)[-1]
    status = "paused" if kind == "pause" else "running"
    with tree.database.transaction() as connection:
        chosen = segments.c.id == tree.segment("main").id
        connection.execute(segments.update().where(chosen).values(status=status))
        requests.move(connection, request.id, "applied", actor="run", step=1)
        requests.move(connection, request.id, "done", actor="run")


@pytest.fixture
def no_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody trains: that a training is paused or goes on is not waited for."""
    monkeypatch.setattr(control, "wait", lambda *_arguments: None)


def test_after_a_failure_it_waits_longer_each_time(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("branchtrack.agents.llm.controller.time.time", lambda: now[0])
    memory: dict[str, Any] = {}
    said: list[str] = []
    with answering(saying(b"busy", 429)) as asked:
        coach = Coach(tree, asked.url)
        values = {"base_url": asked.url, "model": "small", "every": 1}
        for count, seconds in enumerate((5.0, 10.0, 20.0), start=1):
            # Another process goes on with what was remembered.
            controller = ModelController.of(values, tree.database, said.append)
            controller.take(coach.agent)
            view = look(tree.database)
            for late, questions in ((0.0, count), (seconds - 0.5, count)):
                now[0] += late
                view = replace(view, step=view.step + 1000 * count)
                controller.decide(view, memory)
                assert len(asked) == questions
            now[0] += 1.0
    assert len(said) == 3 and "failed: The endpoint answered with status 429." in said[0]
    assert "after 5 seconds" in said[0] and "after 20 seconds" in said[2]


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [("120", 120.0), ("9999999", 3600.0), ("Sun, 29 Nov 2026", 5.0), ("1", 5.0)],
)
def test_an_endpoint_says_when_to_ask_again(tree: Tree, wait: str, seconds: float) -> None:
    memory: dict[str, Any] = {}
    with answering(saying(b"busy", 429, **{"Retry-After": wait})) as asked:
        coach = Coach(tree, asked.url)
        coach.controller.take(coach.agent)
        before = time.time()
        coach.controller.decide(look(tree.database), memory)
    assert before + seconds <= memory["ask_again_at"] <= time.time() + seconds


def test_pauses_have_an_end_and_a_good_answer_ends_them(tree: Tree, endpoint: Asked) -> None:
    assert [pause_after(count) for count in (1, 2, 7, 5000)] == [5.0, 10.0, 300.0, 300.0]
    memory: dict[str, Any] = {"failures": 3, "ask_again_at": 1.0}
    coach = Coach(tree, endpoint.url)
    coach.controller.take(coach.agent)
    coach.controller.decide(look(tree.database), memory)
    assert set(memory) == {"asked_at"}


def test_an_answer_that_is_no_decision_is_said_with_the_reason(tree: Tree) -> None:
    said: list[str] = []
    with answering(saying(completion("Lower the rate!"))) as asked:
        coach = Coach(tree, asked.url)
        values = {"base_url": asked.url, "model": "small"}
        controller = ModelController.of(values, tree.database, said.append)
        controller.take(coach.agent)
        controller.decide(look(tree.database), {})
    (line,) = said
    assert "malformed: " in line and "one JSON object" in line


@pytest.mark.usefixtures("no_trainer")
def test_a_training_waits_for_the_answer_and_goes_on_after_it(tree: Tree) -> None:
    def answer(handler: BaseHTTPRequestHandler, question: dict[str, Any]) -> None:
        carried_out(tree, "pause")
        saying(b"down", 503)(handler, question)

    with answering(answer) as asked:
        Coach(tree, asked.url, wait=True).work()
    held, over = requests_of(tree)
    assert (held.kind, over.kind) == ("pause", "unpause")
    assert over.requested["pause"] == held.id
    # There was no answer.
    assert over.reason == "The question to the model is over."


def test_a_training_does_not_wait_for_who_only_observes(tree: Tree, endpoint: Asked) -> None:
    (exchange,) = Coach(tree, endpoint.url, "observe", wait=True).work()
    assert exchange.outcome == "observed" and requests_of(tree) == []


@pytest.mark.usefixtures("no_trainer")
def test_a_held_training_goes_on_though_the_exchange_could_not_be_recorded(
    tree: Tree, endpoint: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    coach = Coach(tree, endpoint.url, wait=True)
    monkeypatch.setattr(coach.controller, "_record", lambda *_arguments, **_facts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        coach.work()
    assert [request.kind for request in requests_of(tree)] == ["pause", "unpause"]


@pytest.mark.parametrize(
    "options",
    [
        {"model": "small"},
        {"base_url": "http://x/v1"},
        {"base_url": "x", "model": "small"},
        {"base_url": "http://x/v1", "model": "small", "every": 0},
        {"base_url": "http://x/v1", "model": "small", "api_key": "sk"},
    ],
)
def test_options_that_cannot_be_are_refused(tree: Tree, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        ModelController.of(options, tree.database)
