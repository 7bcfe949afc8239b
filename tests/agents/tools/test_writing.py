"""The writing tools: what is asked for is on record, and nothing is claimed that was not seen."""

from __future__ import annotations

from branchtrack.control.trials import cancelling
from branchtrack.db import requests, runs
from branchtrack.db.orders import trials
from tests.agents.tools.conftest import Ask, asker
from tests.control.trials import samples
from tests.web.conftest import Site


def test_a_change_that_the_process_has_not_answered_is_shown_as_it_is(ask: Ask, own: Site) -> None:
    answer = ask("set", branch="digits", values={"lr": "x0.5"}, reason="flat", wait=0.2)
    assert answer["state"] == "accepted" and answer["requested"] == {"lr": 2.5e-3}
    assert "effective" not in answer
    waited = ask("wait", request=answer["id"], seconds=0.1)
    assert waited["done"] is False and waited["state"] == "accepted"
    assert "reason" in ask("set", branch="digits", values={"lr": 1e-3}, reason="")


def test_a_proposal_waits_for_a_person_and_a_note_is_done_at_once(ask: Ask, own: Site) -> None:
    answer = ask("propose", branch="digits", values={"lr": 1e-3}, reason="flat")
    assert answer["state"] == "proposed" and "approve" in answer["next"]
    fork = ask("propose", node=own.node("main"), values={"lr": 1e-3}, reason="flat")
    assert (fork["kind"], fork["state"]) == ("resume", "proposed")
    assert "either" in ask("propose", values={"lr": 1e-3}, reason="flat")
    assert len(ask("overview", run="digits")["proposals"]) == 2
    assert ask("note", branch="digits", text="warm-up is over")["state"] == "done"
    with own.database.read() as connection:
        run = runs.find_run(connection, "digits")
        actors = {row.actor for row in requests.list_of_run(connection, run.id)}
    assert "coder-agent (agent)" in actors


def test_a_fork_is_queued_and_waited_for(ask: Ask, own: Site) -> None:
    answer = ask("fork", node=own.node("main"), settings={"lr": [1e-3, 2e-3]}, reason="which")
    assert [launch["state"] for launch in answer["launches"]] == ["queued", "queued"]
    waited = ask("wait", launch=answer["launches"][0]["launch"], seconds=0.1)
    assert waited["done"] is False and waited["state"] == "queued"
    assert ask("wait", branch="digits/main", until_step=1, seconds=0.1)["done"] is True
    assert "exactly one" in ask("wait", seconds=0.1)


def test_a_trial_is_ordered_and_waited_for(ask: Ask, own: Site) -> None:
    node = samples.seeded(own.lines["main"]).id
    answer = ask("trial", node=node, settings={"lr": ["x0.5", "x3"]}, reason="which", steps=10)
    assert (answer["state"], answer["changes"]) == ("running", ["lr=x0.5", "lr=x3"])
    assert answer["most_steps"] == 8 * 3 * 10
    waited = ask("wait", trial=answer["id"], seconds=0.1)
    assert waited["done"] is False and waited["verdicts"][0].startswith("lr=x0.5: pending")
    with own.database.read() as connection:
        (trial,) = trials.of_run(connection, runs.find_run(connection, "digits").id)
        orders = requests.list_of_run(connection, trial.run_id)
    assert (trial.actor, orders[0].result) == ("coder-agent (agent)", {"trial": trial.id})
    cancelling.cancel_trial(own.database, trial.id, actor="ann")
    assert ask("wait", trial=answer["id"], seconds=0.1)["done"] is True
    refused = ask("trial", node=node, settings={"lr": "x0.5"}, reason="", steps=10)
    assert "reason" in refused
    assert "margin" in ask("trial", node=node, settings={"lr": 1}, reason="x", margin="big")


def test_a_viewer_reads_and_is_told_why_it_may_not_write(own: Site) -> None:
    own.lines["main"].beat()
    look = asker(own, "viewer")
    assert look("overview")["you"]["role"] == "viewer"
    refused = look("set", branch="digits", values={"lr": 1e-3}, reason="flat")
    assert "may read, but not change anything" in refused and "Nothing was changed" in refused
