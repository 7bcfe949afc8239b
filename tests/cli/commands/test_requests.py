"""Commands on what a run can be asked for and was."""

from __future__ import annotations

from threading import Thread
from typing import Any

from branchtrack import control
from branchtrack.core.builtin_settings import BUILT_IN
from branchtrack.core.records import Node
from branchtrack.db import nodes, requests
from branchtrack.db.orders import queue
from branchtrack.db.tables import segments
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]
OFFERS = {
    "actions": [
        {
            "name": "relabel",
            "about": "new labels",
            "defaults": {"soft": True},
            "parameters": [
                {"name": "threshold", "maximum": 1.0},
                {"name": "soft", "dtype": "bool"},
            ],
        }
    ],
    "modules": ["encoder", "head", "head.weight"],
}


def offer(tree: Tree) -> None:
    """Have the process of ``main`` offer an action and modules."""
    with tree.database.transaction() as connection:
        connection.execute(
            segments.update().where(segments.c.id == tree.segment("main").id).values(offers=OFFERS)
        )


def test_settings_are_told_with_what_the_maths_used(call: Call, forked: Forked) -> None:
    tree, made = forked
    offer(tree)
    with tree.database.transaction() as connection:
        nodes.set_effective(connection, made[2].id, {"step": 21, "lr": 0.02, "lr_now": 0.015})
    found = call("settings", "demo", "--json").json
    lr = found["settings"][0]
    assert (lr["name"], lr["value"], lr["effective"], lr["effective_now"]) == (
        "lr",
        0.01,
        0.02,
        0.015,
    )
    assert (lr["allowed"], lr["effect"]) == (BUILT_IN[0].allowed, "from the next update")
    assert found["effective_step"] == 21
    assert (
        found["actions"][0]["parameters"][1] | {"required": False, "default": True}
        == (found["actions"][0]["parameters"][1])
    )
    text = call("settings", "demo").out
    assert "0.02 (now 0.015)" in text and "relabel threshold=float [soft=true]" in text


def test_an_action_of_the_authors_own_is_called_with_typed_arguments(
    call: Call, forked: Forked
) -> None:
    offer(forked[0])
    found = call("act", "demo", "relabel", "threshold=0.5", "--no-wait", "--json")
    assert found.json["requested"]["arguments"] == {"threshold": 0.5, "soft": True}
    assert call("act", "demo", "relabel", "threshold=2", "--no-wait").code == 2
    assert call("act", "demo", "nope", "--no-wait").code == 2


def test_requests_are_listed_newest_first_with_their_refusals(call: Call, forked: Forked) -> None:
    call("checkpoint", "demo", "--no-wait", "--reason", "first")
    call("set", "demo", "lr=-1")
    found = call("requests", "demo", "--json").json
    assert [(one["kind"], one["state"]) for one in found] == [
        ("set", "rejected"),
        ("checkpoint", "accepted"),
    ]
    assert "first" in call("requests", "demo").out


def test_a_request_of_a_run_that_ended_is_not_shown_as_waiting(call: Call, forked: Forked) -> None:
    call("checkpoint", "demo", "--no-wait")
    forked[0].end("main", "failed")
    assert [one["state"] for one in call("requests", "demo", "--json").json] == ["expired"]


def test_a_waiting_request_is_cancelled_by_the_process_alone(call: Call, forked: Forked) -> None:
    tree = forked[0]
    asked = call("checkpoint", "demo", "--no-wait", "--json").json

    def answer() -> None:
        while control.poll(tree.database, tree.segment("main").id)[0].cancel is None:
            pass
        with tree.database.transaction() as connection:
            requests.move(connection, asked["id"], "cancelled", actor="run")

    thread = Thread(target=answer)
    thread.start()
    told = call("cancel", asked["id"][:8], "--json")
    thread.join()
    assert (told.code, told.json["state"]) == (0, "cancelled")
    late = call("cancel", asked["id"])
    assert late.code == 2 and "too late" in late.err


def test_refusals_that_were_only_counted_are_told(call: Call, forked: Forked) -> None:
    counts = {("demo/main", "v (viewer)", "RateLimited"): 1935}
    control.count_refusals(forked[0].database, counts)
    text = call("requests", "demo").out
    assert "1,935 more of v (viewer) were refused (RateLimited) and counted" in text


def order(forked: Forked, name: str, **how: Any) -> str:
    tree, made = forked
    return control.create_launch(
        tree.database,
        tree.store,
        made[1].id,
        actor="ann",
        name=name,
        **how,
    ).id


def test_the_queue_lists_launches_in_their_order_and_says_why_they_wait(
    call: Call, forked: Forked
) -> None:
    assert "No launch waits or trains." in call("queue").out
    order(forked, "late")
    order(forked, "soon", priority=2, labels=["gpu"])
    told = call("queue", "--json").json
    assert [(one["branch"], one["position"]) for one in told["launches"]] == [
        ("soon", 1),
        ("late", 2),
    ]
    assert (told["total"], told["workers"], told["ended"]) == (2, [], [])
    text = call("queue").out
    assert text.index("demo/soon") < text.index("demo/late")
    assert "No worker looks for launches." in text


def test_a_waiting_launch_is_cancelled_by_its_id(call: Call, forked: Forked) -> None:
    launch = order(forked, "hot")
    told = call("cancel", launch[:8], "--json")
    assert told.code == 0
    assert (told.json["state"], told.json["withdrawn"]) == ("cancelled", True)
    again = call("cancel", launch)
    assert again.code == 2 and "too late" in again.err
    order(forked, "hot")


def test_one_with_a_process_whose_worker_does_not_end_it_is_not_called_cancelled(
    call: Call, forked: Forked
) -> None:
    launch = order(forked, "hot")
    with forked[0].database.transaction() as connection:
        queue.claim(connection, "elsewhere:1:1", launch)
    late = call("cancel", launch, "--timeout", "0.2")
    assert late.code == 1 and "has not ended after 0.2 s" in late.err
    sent = call("cancel", launch, "--no-wait", "--json")
    assert (sent.code, sent.json["state"]) == (0, "starting")
    assert sent.json["cancel"] is not None


def test_an_id_of_neither_is_refused(call: Call, forked: Forked) -> None:
    nothing = call("cancel", "0000")
    assert nothing.code == 2 and "There is no request or launch '0000'." in nothing.err
