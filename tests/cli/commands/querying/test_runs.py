"""``branchtrack runs``: filtered, sorted, with columns, and from a saved view."""

from __future__ import annotations

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.control.organising import views
from branchtrack.db.engine import Database
from tests.cli.conftest import Call
from tests.db.browsing.tables_of_runs import add_run


@pytest.fixture
def home(sqlite_database: Database, store: Store) -> Database:
    add_run(sqlite_database, store, "slow", settings={"lr": 1e-4}, eval_loss=[3.0, 2.0])
    add_run(sqlite_database, store, "fast", settings={"lr": 1e-2}, eval_loss=[2.5])
    add_run(sqlite_database, store, "live", ended=None, settings={"lr": 1e-3})
    return sqlite_database


def test_a_query_and_an_order_choose_the_runs(call: Call, home: Database) -> None:
    listed = call("runs", "lr<1e-2", "--sort", "-lr", "--json")
    assert [run["name"] for run in listed.json] == ["live", "slow"] and listed.err == ""
    assert [run["name"] for run in call("runs", "status:training", "--json").json] == ["live"]
    assert call("runs", "nothing").out == "No run matches.\n"
    unknown = call("runs", "nosuchthing<3").out.splitlines()
    assert unknown == ["No run matches.", "No run has a setting or metric named nosuchthing."]


def test_columns_are_shown_and_are_values_in_json(call: Call, home: Database) -> None:
    arguments = ("--sort", "best(eval_loss)", "--columns", "best(eval_loss),lr")
    lines = call("runs", *arguments).out.splitlines()
    assert lines[0].split()[:4] == ["RUN", "STATUS", "best(eval_loss)", "lr"]
    assert [line.split()[0] for line in lines[1:]] == ["slow", "fast", "live"]
    assert lines[1].split()[2:4] == ["2.000", "1e-4"] and "–" in lines[3]
    values = [run["values"] for run in call("runs", *arguments, "--json").json]
    assert values[0] == {"best(eval_loss)": 2.0, "lr": 1e-4}


def test_a_list_that_is_cut_says_how_many_there_are(call: Call, home: Database) -> None:
    cut = call("runs", "lr>0", "--limit", "1", "--json")
    assert len(cut.json) == 1 and cut.err == "1 of 3 runs; --all lists all of them.\n"
    assert len(call("runs", "lr>0", "--limit", "1", "--all", "--json").json) == 3


def test_pinned_runs_stand_on_top_and_archived_ones_are_counted(call: Call, home: Database) -> None:
    control.label(home, "slow", actor="ann", pinned=True)
    control.label(home, "fast", actor="ann", archived=True)
    for arguments in ([], ["--sort", "-updated"], ["lr>0"]):
        listed = call("runs", *arguments)
        assert [line.split()[0] for line in listed.out.splitlines()[1:]] == ["slow", "live"]
        assert "slow *" in listed.out
        assert listed.err == "1 archived run not listed: --archived.\n"
        assert len(call("runs", *arguments, "--archived", "--json").json) == 3


def test_a_saved_view_can_be_narrowed(call: Call, home: Database) -> None:
    views.save(home, "by lr", {"q": "lr<1e-2", "sort": "lr"}, actor="ann")
    by_lr = call("runs", "--view", "by lr", "--json").json
    assert [run["name"] for run in by_lr] == ["slow", "live"]
    other = call("runs", "--view", "by lr", "--sort", "-lr", "--json").json
    assert [run["name"] for run in other] == ["live", "slow"]
    assert call("runs", "--view", "by").code == 2


@pytest.mark.parametrize(
    "arguments", [["lr<"], ["--sort", "a b"], ["--columns", "mean(x)"], ["kind:fork"]]
)
def test_what_cannot_be_read_is_bad_input(call: Call, home: Database, arguments: list[str]) -> None:
    answer = call("runs", *arguments)
    assert answer.code == 2 and "error:" in answer.err


def test_facts_are_columns_too(call: Call, home: Database) -> None:
    control.label(home, "slow", actor="ann", add=["good"])
    lines = call("runs", "--sort", "lr", "--columns", "step,tags,created,speed").out.splitlines()
    assert lines[0].split()[2:6] == ["step", "tags", "created", "speed"]
    assert lines[1].split()[3] == "good" and lines[1].count("just now") == 2
    steps = [run["values"]["step"] for run in call("runs", "--columns", "step", "--json").json]
    assert all(isinstance(step, int) for step in steps)
    shown = call("runs", "--columns", "name,status,branches,nodes,updated")
    assert shown.code == 0 and shown.out == call("runs").out


@pytest.mark.parametrize(
    ("column", "word"),
    [("nosuchthing", "setting or metric named nosuchthing"), ("trend", "page"), ("max(x)", "x")],
)
def test_a_column_that_cannot_be_shown_is_refused_with_those_that_there_are(
    call: Call, home: Database, column: str, word: str
) -> None:
    refused = call("runs", "--columns", f"lr,{column}")
    assert refused.code == 2 and word in refused.err and "step, speed, tags" in refused.err
    assert column == "trend" or "eval_loss" in refused.err
    views.save(home, "drawn", {"columns": f"lr,{column}"}, actor="ann")
    assert call("runs", "--view", "drawn").code == 0
