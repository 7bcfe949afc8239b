"""Who may ask, when a request is the same one, what its conditions are, and who is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import event, text

from branchtrack import config, control, processes
from branchtrack.checkpoints.packs import Store
from branchtrack.core import lifecycle
from branchtrack.core.actors import Actor
from branchtrack.core.records import Request
from branchtrack.core.settings import Setting
from branchtrack.db import audit, requests, segments, tables, tokens
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.errors import Forbidden, InvalidInput, NotFound, NotLive, RateLimited
from tests.trees_for_tests import Tree, make_forked_tree, make_tree

SET_LR = {"kind": "set", "values": {"lr": "1e-3"}}
NOTE = {"kind": "note", "text": "as expected"}


def every(tree: Tree) -> list[Request]:
    with tree.database.read() as connection:
        return requests.list_of_run(connection, tree.run.id)[::-1]


def agent(tree: Tree, **how: Any) -> Actor:
    with tree.database.transaction() as connection:
        token, _ = tokens.create(connection, "sweeper", "agent", created_by="me", **how)
    return Actor(token.name, token.role, "api", token.id, token.only, token.limit)


def test_the_same_key_is_the_same_request(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    first = control.submit(database, "demo", SET_LR, actor="me", key="a")
    assert control.submit(database, "demo", SET_LR, actor="me", key="a").id == first.id
    assert control.submit(database, "demo", SET_LR, actor="you", key="a").id != first.id
    with pytest.raises(InvalidInput, match="something else"):
        control.submit(database, "demo", {"kind": "checkpoint"}, actor="me", key="a")
    assert len(every(tree)) == 2


def test_one_key_from_many_threads_is_one_request(database: Database, store: Store) -> None:
    tree = make_tree(database, store)

    def ask(number: int) -> str:
        key = f"key {number % 4}"
        return control.submit(database, "demo", SET_LR, actor="me", key=key).id

    with ThreadPoolExecutor(12) as pool:
        ids = set(pool.map(ask, range(24)))
    assert len(ids) == len(every(tree)) == 4
    with database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None


def test_a_key_of_a_refused_request_can_be_used_for_a_good_one(
    database: Database, store: Store
) -> None:
    make_tree(database, store)
    with pytest.raises(InvalidInput):
        control.submit(database, "demo", {"kind": "set", "values": {"lr": -1}}, actor="me", key="k")
    assert control.submit(database, "demo", SET_LR, actor="me", key="k").state == "accepted"


@pytest.mark.parametrize(
    ("actor", "payload", "reason", "error"),
    [
        (Actor("v", "viewer"), SET_LR, "why", Forbidden),
        (Actor("v", "viewer"), NOTE, "why", Forbidden),
        (Actor("o", "nobody"), SET_LR, "why", Forbidden),
        (Actor("a", "agent"), SET_LR, " ", InvalidInput),
        (Actor("a", "agent", only=("weight_decay", "checkpoint")), SET_LR, "why", Forbidden),
        (Actor("a", "agent", only=("lr",)), {"kind": "checkpoint"}, "why", Forbidden),
        (
            Actor("a", "agent", only=("lr",)),
            {"kind": "set", "values": {"lr": 1e-3, "weight_decay": 0}},
            "why",
            Forbidden,
        ),
        (
            Actor("a", "agent", only=("rewind",)),
            {"kind": "rewind", "node": "abcd", "values": {"lr": 1}},
            "why",
            Forbidden,
        ),
    ],
)
def test_what_a_role_may_not_is_refused_and_recorded(
    sqlite_database: Database, store: Store, actor: Actor, payload: Any, reason: str, error: Any
) -> None:
    tree = make_tree(sqlite_database, store)
    with pytest.raises(error):
        control.submit(sqlite_database, "demo", payload, actor=actor, reason=reason)
    (request,) = every(tree)
    assert (request.state, request.actor) == ("rejected", actor.label)


def test_what_a_token_is_for_is_let_through(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    actor = agent(tree, only=["l*", "checkpoint"])
    for payload in (SET_LR, {"kind": "checkpoint"}):
        request = control.submit(sqlite_database, "demo", payload, actor=actor, reason="why")
        assert (request.actor, request.channel, request.token_id) == (
            "sweeper (agent)",
            "api",
            actor.token_id,
        )


def test_a_launch_needs_the_role_as_well(sqlite_database: Database, store: Store) -> None:
    _tree, tree_nodes = make_forked_tree(sqlite_database, store)
    for actor in (Actor("v", "viewer"), Actor("a", "operator", only=("lr",))):
        with pytest.raises(Forbidden):
            control.create_launch(
                sqlite_database, store, tree_nodes[1].id, actor=actor, reason="why"
            )


def test_a_limit_counts_the_updates_of_the_whole_run(
    sqlite_database: Database, store: Store
) -> None:
    tree, _made = make_forked_tree(sqlite_database, store)
    actor = agent(tree, limit=2)

    def ask(branch: str) -> None:
        control.submit(sqlite_database, branch, SET_LR, actor=actor, reason="why")

    ask("demo/main")
    ask("demo/cooler")
    with pytest.raises(RateLimited, match="may make 2"):
        ask("demo/main")
    with sqlite_database.transaction() as connection:
        segments.heartbeat(connection, tree.segment("main").id, 1500, None, {})
    ask("demo/cooler")


def test_a_condition_that_could_never_hold_is_refused(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    with sqlite_database.transaction() as connection:
        segments.heartbeat(connection, tree.segment("main").id, 50, None, {})
    bad: list[tuple[dict[str, Any], str]] = [
        ({"not_after_step": 49}, "not_after_step"),
        ({"not_after_step": "6.5"}, "not_after_step"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": float("nan")}, "expires_in"),
        ({"only_if": {"rate": 1}}, "only_if.rate"),
        ({"only_if": {"lr": "x"}}, "lr"),
        ({"unless": 1}, "unless"),
    ]
    for when, field in bad:
        with pytest.raises(InvalidInput, match=field):
            control.submit(sqlite_database, "demo", SET_LR, actor="me", when=when)
    good = {"not_after_step": 50, "expires_in": 5, "only_if": {"lr": "1e-2"}}
    request = control.submit(sqlite_database, "demo", SET_LR, actor="me", when=good)
    assert request.conditions["only_if"] == {"lr": 0.01} and request.asked_step == 50
    assert request.conditions["expires_at"] > time.time()


def test_a_preview_asks_for_nothing(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    preview = control.preview(
        sqlite_database,
        "demo",
        {"kind": "set", "values": {"lr": "2e-3"}},
        actor="me",
        when={"only_if": {"lr": 0.5}},
    )
    assert preview["valid"] and preview["describe"] == "set lr = 2e-3"
    (change,) = preview["changes"]
    assert (change["before"], change["after"]) == (0.01, 0.002) and "update" in change["effect"]
    assert "lr is 0.5, but it is 0.01" in preview["unmet"]
    bad = control.preview(
        sqlite_database, "demo", {"kind": "set", "values": {"lr": -1}}, actor="me"
    )
    assert not bad["valid"] and bad["error"]["field"] == "lr"
    viewer = control.preview(sqlite_database, "demo", SET_LR, actor=Actor("v", "viewer"))
    assert viewer["error"]["type"] == "Forbidden"
    assert every(tree) == []


def test_a_remark_needs_no_process(database: Database, store: Store) -> None:
    tree = make_tree(database, store)
    tree.end("main")
    request = control.submit(database, "demo", NOTE, actor="me")
    assert request.state == "done"
    with database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None


def test_a_rewind_is_looked_at_before_anything_is_asked(
    sqlite_database: Database, store: Store
) -> None:
    entry = {"argv": [sys.executable, "-c", "pass"], "cwd": "/", "env": {}}
    tree, tree_nodes = make_forked_tree(sqlite_database, store, entry_point=entry)
    other = make_tree(sqlite_database, store, "other")
    foreign = other.node("main", 0, kind="root")
    bad: list[tuple[dict[str, Any], Any]] = [
        ({"node": "ffffffffffffffff"}, NotFound),
        ({"node": foreign.id}, InvalidInput),
        ({"node": tree_nodes[1].id, "name": "cooler"}, InvalidInput),
        ({"node": tree_nodes[1].id, "values": {"lr": "nan"}}, InvalidInput),
        ({}, InvalidInput),
    ]
    for fields, error in bad:
        with pytest.raises(error):
            control.submit(sqlite_database, "demo", {"kind": "rewind", **fields}, actor="me")
    good = {"kind": "rewind", "node": tree_nodes[1].id[:6], "name": "new", "values": {"lr": "0.5"}}
    request = control.submit(sqlite_database, "demo", good, actor="me")
    assert request.requested == {"node": tree_nodes[1].id, "name": "new", "values": {"lr": 0.5}}
    assert [request.state for request in every(tree)] == ["rejected"] * 5 + ["accepted"]


def test_a_process_that_is_gone_is_lost_soon_and_a_silent_one_late(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    request = control.submit(sqlite_database, "demo", SET_LR, actor="me")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = processes.own_name().split(":")
    name[1:] = [str(child.pid), processes._start(child.pid)]

    def told(ago: float) -> str:
        with sqlite_database.transaction() as connection:
            connection.execute(
                tables.segments.update().values(
                    process=":".join(name), heartbeat_at=time.time() - ago
                )
            )
        return lifecycle.segment_status(tree.segment("main"), time.time())

    silent = lifecycle.SILENT_AFTER
    assert [told(ago) for ago in (0.0, silent - 5, silent + 1)] == ["running", "running", "lost"]
    with child:
        child.kill()
    assert [told(ago) for ago in (0.0, 5.0)] == ["running", "lost"]
    with pytest.raises(NotLive, match="lost"):
        control.submit(sqlite_database, "demo", SET_LR, actor="me")
    assert control.expire_hanging(sqlite_database, tree.run.id, "me") == 1
    assert every(tree)[0].id == request.id and every(tree)[0].state == "expired"
    assert os.getpid() != child.pid


def test_clamping_is_asked_for_and_recorded_with_both_values(
    sqlite_database: Database, store: Store
) -> None:
    tree = make_tree(sqlite_database, store)
    payload = {"kind": "set", "values": {"lr": 5000.0}}
    with pytest.raises(InvalidInput, match="at most 100"):
        control.submit(sqlite_database, "demo", payload, actor="me")
    request = control.submit(sqlite_database, "demo", {**payload, "clamp": True}, actor="me")
    assert request.payload["values"] == {"lr": 5000.0} and request.requested["values"] == {
        "lr": 100.0
    }
    for value in ("nan", "inf", "much", True):
        with pytest.raises(InvalidInput):
            bad = {"kind": "set", "values": {"lr": value}, "clamp": True}
            control.submit(sqlite_database, "demo", bad, actor="me")
    assert len(every(tree)) == 6


def test_a_word_is_no_truth_value_in_json(sqlite_database: Database, store: Store) -> None:
    tree = make_tree(sqlite_database, store)
    flag = Setting("flag", "bool").as_dict()
    with sqlite_database.transaction() as connection:
        connection.execute(tables.segments.update().values(declared=[flag]))
    payload = {"kind": "set", "values": {"flag": "false"}}
    with pytest.raises(InvalidInput, match="flag"):
        control.submit(sqlite_database, "demo", payload, actor=Actor("me", channel="api"))
    request = control.submit(sqlite_database, "demo", payload, actor="me")
    assert request.requested == {"values": {"flag": False}} and len(every(tree)) == 2


DEEP: dict[str, Any] = {"kind": "set", "values": {}}
for _ in range(600):
    DEEP["values"] = {"a": DEEP["values"]}


@pytest.mark.parametrize(
    "payload",
    [
        {"kind": "set", "values": {"lr": "\ud800"}},
        {"kind": "set", "values": {"\udfff": 1}},
        {"kind": "act", "action": "a", "arguments": {"b": [{"\ud800": "\x00"}]}},
        {"kind": "pause", "\ud800": 1},
        {"kind": "\ud800"},
        {"kind": "note", "text": "\ud800"},
        {"kind": "set", "values": {"lr": 10**5000}},
        DEEP,
    ],
    ids=range(8),
)
def test_what_no_record_bears_is_refused_and_the_refusal_can_be_shown(
    database: Database, store: Store, payload: dict[str, Any]
) -> None:
    tree = make_tree(database, store)
    with pytest.raises(InvalidInput):
        control.submit(database, "demo", payload, actor="me", reason="a\ud800")
    (refused,) = every(tree)
    assert (refused.state, refused.reason) == ("rejected", "a?")
    json.dumps([refused.kind, refused.payload, refused.error], ensure_ascii=False).encode()
    with database.read() as connection:
        assert audit.first_broken_seq(connection, tree.run.id) is None


def test_conditions_that_no_record_bears_are_refused(database: Database, store: Store) -> None:
    make_tree(database, store)
    for when in ({"only_if": {"\ud800": 1}}, {"only_if": {"lr": "\ud800"}}, {"\ud800": 1}):
        with pytest.raises(InvalidInput):
            control.submit(database, "demo", SET_LR, actor="me", when=when)


@pytest.mark.parametrize(
    ("condition", "value"),
    [("only_if", {"lr": 1}), ("only_if", []), ("not_after_step", 5), ("expires_in", -1)],
)
def test_a_note_has_no_condition_that_nobody_would_check(
    sqlite_database: Database, store: Store, condition: str, value: object
) -> None:
    make_tree(sqlite_database, store)
    with pytest.raises(InvalidInput) as refused:
        control.submit(sqlite_database, "demo", NOTE, actor="ann", when={condition: value})
    assert refused.value.field == condition


def test_a_request_takes_as_many_statements_however_many_branches_its_run_has(
    database: Database, store: Store
) -> None:
    tree = make_tree(database, store)
    counts = []
    statements: list[str] = []

    def note(*about: Any) -> None:
        statements.append(about[2])

    for _ in range(2):
        event.listen(database.engine, "before_cursor_execute", note)
        control.submit(database, "demo/main", SET_LR, actor="me")
        event.remove(database.engine, "before_cursor_execute", note)
        counts.append(len(statements))
        statements.clear()
        for number in range(10):
            tree.branch(f"fork {len(counts)} {number}".replace(" ", "-"))
    assert counts[0] == counts[1]


def test_a_cancel_and_an_answer_at_once_wait_for_each_other(
    postgres: str, tmp_path: Path, store: Store
) -> None:
    database = open_database(config.load(tmp_path / "home", postgres))
    tree = make_tree(database, store)
    request = control.submit(database, "demo", SET_LR, actor="me")
    outcomes: list[object] = []

    def cancel() -> None:
        try:
            outcomes.append(control.cancel(database, request.id, actor="me"))
        except InvalidInput as error:
            outcomes.append(error)

    with database.transaction() as connection:
        # The answer has the run; the cancel begins, and must not hold the request meanwhile.
        audit.lock(connection, tree.run.id)
        thread = Thread(target=cancel)
        thread.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        deadline = time.monotonic() + 60
        with database.read() as reader:
            while not reader.execute(waiting).scalar_one() and time.monotonic() < deadline:
                time.sleep(0.005)
        requests.move(connection, request.id, "applied", actor="run", step=1)
    thread.join(60)
    (outcome,) = outcomes
    assert isinstance(outcome, InvalidInput) and "too late" in outcome.what
    database.close()
