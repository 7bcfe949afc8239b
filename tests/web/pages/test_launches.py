"""The queue: what trains and what waits, with a way to end each."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from branchtrack.core.records import Launch, WorkerRow
from branchtrack.db import runs, tokens
from branchtrack.db.orders import jobs, launches, ordering, queue, workers
from tests.web import dom
from tests.web.clusters import order_far
from tests.web.conftest import Site


@pytest.fixture
def waiting(own: Site) -> list[Launch]:
    """Two launches that wait."""
    main = own.lines["main"]
    assert main.head is not None
    return [main.grower.order(main.head, name, "to see")[1] for name in ("first", "second")]


def beat(own: Site, ago: float = 0.0, **facts: Any) -> WorkerRow:
    row = WorkerRow("box:1:1#1", "box", 1, ["gpu"], ["GPU-a"], 0.0, time.time() - ago)
    row = replace(row, **facts)
    with own.database.transaction() as connection:
        workers.beat(connection, row)
    return row


def start(own: Site, launch: Launch, worker: str) -> None:
    with own.database.transaction() as connection:
        queue.claim(connection, worker, launch.id, device="GPU-a")
        launches.move(connection, launch.id, "running", worker, pid=77)


def test_what_waits_is_listed_in_its_order_with_the_reason(
    own: Site, waiting: list[Launch]
) -> None:
    page = own.get("/launches")
    rows = page.table("Waiting")
    assert [row["place"] for row in rows] == ["1", "2"]
    assert rows[0]["branch"].startswith("digits/first")
    assert "No worker looks for launches." in rows[0]["branch"]
    assert rows[0]["who, why"] == "anna · “to see”"
    assert "No worker has a launch." in page.one("main").text
    beat(own)
    assert "It starts in a moment." in own.get("/launches").table("Waiting")[0]["branch"]


def test_what_trains_has_its_progress_its_output_and_its_worker(
    own: Site, waiting: list[Launch]
) -> None:
    worker = beat(own)
    start(own, waiting[0], worker.name)
    own.config.make_home()
    (own.config.logs / f"{waiting[0].id}.log").write_text("epoch 1\n")
    page = own.get("/launches")
    (row,) = page.table("Training")
    assert "epoch 1" in row["branch"] and row["status"] == "starting"
    assert row["worker"] == "box, process 1 on GPU-a"
    assert "Every slot is taken." in page.table("Waiting")[0]["branch"]
    (line,) = page.table("Workers")
    assert (line["launches"], line["labels"], line["GPUs"]) == ("1 of 1", "gpu", "GPU-a")


def test_the_step_the_rate_and_the_expected_end_are_those_of_its_branch(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    line = main.grower.fork(main.head, "side")
    line.beat(rate=2.0)
    (row,) = own.get("/launches").table("Training")
    assert row["status"] == "training" and row["steps/s"] == "2.000"
    assert row["ends"].startswith("in ")


def test_a_silent_worker_is_said_to_be_silent(own: Site) -> None:
    beat(own, ago=40)
    assert own.get("/launches").table("Workers")[0]["status"] == "silent"


def test_a_waiting_launch_is_cancelled_and_frees_its_name(own: Site, waiting: list[Launch]) -> None:
    answer = own.client.post(f"/launches/{waiting[0].id}/cancel")
    assert answer.status_code == 303 and answer.headers["Location"].startswith("/launches#launch-")
    page = own.get("/launches")
    assert [row["branch"].split()[0] for row in page.table("Waiting")] == ["digits/second"]
    (row,) = page.table("Ended last")
    assert row["how"] == "cancelled" and "before it trained" in row["branch"]
    with own.database.read() as connection:
        names = {branch.name for branch in runs.list_branches(connection, waiting[0].run_id)}
    assert "first" not in names
    assert own.client.post(f"/launches/{waiting[0].id}/cancel").status_code == 422


def test_an_agent_can_cancel_only_what_it_ordered(own: Site, waiting: list[Launch]) -> None:
    main = own.lines["main"]
    assert main.head is not None
    with own.database.transaction() as connection:
        _, secret = tokens.create(connection, "helper", "agent", created_by="test")
        its = ordering.order(
            connection,
            main.head,
            branch_name="its",
            overrides={},
            mode="exact",
            actor="helper (agent)",
            reason="",
        )
    answer = own.client.get("/launches", headers={"Authorization": f"Bearer {secret}"})
    page = dom.parse(answer.text)
    button = {one: page.one(id=f"launch-{one}").one("button") for one in (waiting[0].id, its.id)}
    assert "disabled" not in button[its.id].attributes
    assert button[waiting[0].id]["title"] == f"helper (agent) did not order launch {waiting[0].id}."


def test_a_training_launch_is_asked_to_end_and_says_by_whom(
    own: Site, waiting: list[Launch]
) -> None:
    start(own, waiting[0], "box:1:1#1")
    own.client.post(f"/launches/{waiting[0].id}/cancel")
    (row,) = own.get("/launches").table("Training")
    assert "ends: cancelled by" in row["cancel"]


def test_a_launch_has_a_page_of_its_own_with_more_of_its_output(
    own: Site, waiting: list[Launch]
) -> None:
    path = f"/launches/{waiting[1].id[:8]}"
    page = own.get(path)
    assert page.heading("Launch of digits/second")
    assert "Place 2 in the queue" in page.one("main").text
    own.config.make_home()
    log = own.config.logs / f"{waiting[1].id}.log"
    log.write_text("".join(f"line {number}\n" for number in range(500)))
    assert own.get(path).one("pre").text.startswith("line 300 line 301")
    assert own.get("/launches/0000", status=404)


def test_the_list_is_sent_alone_to_htmx(own: Site, waiting: list[Launch]) -> None:
    headers = {"HX-Request": "true", "HX-Target": "div#list"}
    text = own.client.get("/launches", headers=headers).get_data(as_text=True)
    assert text.lstrip().startswith('<div id="list"') and "Waiting" in text
    headers["HX-Target"] = "div#live"
    text = own.client.get(f"/launches/{waiting[0].id}", headers=headers).get_data(as_text=True)
    assert text.lstrip().startswith('<div id="live"')


def test_what_has_ended_is_no_longer_asked_for(own: Site, waiting: list[Launch]) -> None:
    own.client.post(f"/launches/{waiting[0].id}/cancel")
    live = own.get(f"/launches/{waiting[0].id}").one(id="live")
    assert not live.get("hx-get")


def test_a_branch_that_was_renamed_is_called_by_its_name_now(
    own: Site, waiting: list[Launch]
) -> None:
    start(own, waiting[0], beat(own).name)
    own.client.post("/runs/digits/branches/first/manage", data={"name": "renamed"})
    assert "digits/renamed" in own.get("/launches").one("main").text
    page = own.get(f"/launches/{waiting[0].id}")
    assert "Launch of digits/renamed" in page.text and "first" not in page.one("main").text
    answer = own.client.get("/api/v1/launches").get_json()["launches"]
    assert [launch["branch"] for launch in answer] == ["renamed", "second"]


def test_a_launch_whose_job_was_refused_says_that_nothing_ran(own: Site) -> None:
    launch = order_far(own, "far")
    path = f"/launches/{launch.id}"
    assert "There is none yet." in own.get(path).one("main").text
    with own.database.transaction() as connection:
        jobs.begin(connection, launch, "w")
        launches.move(connection, launch.id, "failed", "w", error="sbatch says no.")
        jobs.drop(connection, launches.get(connection, launch.id))
    shown = own.get(path).one("main").text
    assert "Slurm: no job was submitted" in shown and "not submitted yet" not in shown
    assert "There is none: no process of it ran." in shown and "worker" not in shown


def test_an_output_that_another_machine_keeps_is_said_to_be_there(
    own: Site, waiting: list[Launch]
) -> None:
    start(own, waiting[0], "elsewhere:1:1#1")
    shown = own.get(f"/launches/{waiting[0].id}").one("main").text
    assert "There is none here; a worker on another machine keeps it" in shown


def test_a_launch_says_what_it_changes_and_which_profile_it_uses(own: Site) -> None:
    far, main = order_far(own, "far", lr=3e-4), own.lines["main"]
    assert main.head is not None
    _, same = main.grower.order(main.head, "same")
    first, second = own.get("/launches").table("Waiting")
    assert "lr = 3e-4, profile gpu" in first["branch"] and "no change" in second["branch"]
    assert "Changes: lr = 3e-4, profile gpu" in own.get(f"/launches/{far.id}").one("main").text
    start(own, same, beat(own).name)
    shown = own.get(f"/launches/{same.id}").one("main").text
    assert "worker box, process 1 on GPU-a" in shown and "Changes: no change." not in shown
