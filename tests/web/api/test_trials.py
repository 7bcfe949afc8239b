"""Trials by the API: ordered, shown, cancelled, removed, promoted, reviewed, refused."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.control.trials.advancing import advance
from branchtrack.core.trials.records import Trial
from branchtrack.db.orders import trials
from tests.control.trials import samples
from tests.web.api.test_requests import post
from tests.web.conftest import Site

API = "/api/v1"
HALVED: dict[str, Any] = {"settings": {"lr": "x0.5"}, "steps": 5, "repeats": 3}


@pytest.fixture
def node(own: Site) -> str:
    """A node from which a seed, too, can be changed."""
    return samples.seeded(own.lines["main"]).id


#: What only a trial by itself says.
WITH_PAIRS = ("pairs", "trained_steps", "floor")


def order(own: Site, node: str, status: int = 202, **body: Any) -> Any:
    return post(own, f"{API}/nodes/{node}/trials", status, {**HALVED, **body}).json


def listed(own: Site) -> Any:
    return own.client.get(f"{API}/runs/digits/trials").get_json()["trials"]


def record(own: Site, trial_id: str) -> Trial:
    with own.database.read() as connection:
        return trials.get(connection, trial_id)


def lost(own: Site, node: str) -> Trial:
    """A trial that is over, whose trainings logged another metric than it compares."""
    made = record(own, order(own, node, metric="loss", repeats=3)["id"])
    for side in (side for pair in made.pairs for side in pair.sides):
        samples.train(own.database, own.store, side.launch if side else "", 2.0)
    return advance(own.database, own.store, made.id)


def test_a_trial_is_ordered_listed_and_shown(own: Site, node: str) -> None:
    made = order(own, node, reason="flat", margin="1%", name="colder")
    assert (made["state"], made["group"], made["node"]) == ("running", "colder", node)
    assert made["changes"][0]["settings"] == {"lr": "x0.5"} and made["reason"] == "flat"
    assert len(made["pairs"]) == 3
    assert listed(own) == [{k: v for k, v in made.items() if k not in WITH_PAIRS}]
    assert own.client.get(f"{API}/trials/{made['id'][:8]}").get_json() == made
    selected = own.client.get(f"{API}/trials/{made['id']}?fields=id,state").get_json()
    assert selected == {"id": made["id"], "state": "running"}


def test_trials_are_listed_by_pages_from_the_newest(own: Site, node: str) -> None:
    made = [order(own, node)["id"] for _ in range(3)]

    def page(before: str = "") -> Any:
        answer = own.client.get(f"{API}/runs/digits/trials?limit=2{before}").get_json()
        return [trial["id"] for trial in answer["trials"]], answer["total"], answer["next"]

    assert page() == ([made[2], made[1]], 3, made[1])
    assert page(f"&before={made[1]}") == ([made[0]], 3, None)
    refused = own.client.get(f"{API}/runs/digits/trials?before=nothing")
    assert refused.status_code == 422 and refused.get_json()["error"]["field"] == "before"


def test_lists_grids_and_several_nodes_are_one_trial(own: Site, node: str) -> None:
    made = order(own, node, settings={}, grid={"lr": "x0.5,x3"}, nodes=["digits@50"])
    assert [change["label"] for change in made["changes"]] == ["lr=x0.5", "lr=x3"]
    assert [each["step"] for each in made["nodes"]] == [51, 50]


def test_nothing_and_the_change_of_a_node_can_be_tried(own: Site, node: str) -> None:
    assert order(own, node, settings=None, same=True)["kind"] == "aa"
    tried = order(own, "digits@50", settings=None, intervention=True)
    assert tried["changes"][0]["label"] == "lr 5e-3 → 1e-3"


def test_a_dry_run_orders_nothing(own: Site, node: str) -> None:
    preview = order(own, node, 200, dry_run=True)
    assert (preview["most_steps"], preview["launches"], preview["at"]) == (30, 6, [3])
    assert listed(own) == []


@pytest.mark.parametrize(
    "body",
    [
        {"settings": {}},
        {"settings": {"lr": -1}},
        {"settings": {"speed": 1}},
        {"settings": {"seed": 1}},
        {"settings": []},
        {"same": True},
        {"intervention": True},
        {"steps": 0},
        {"steps": 100_000},
        {"steps": "many"},
        {"repeats": 0},
        {"repeats": 101},
        {"metric": "nothing"},
        {"margin": "big"},
        {"margin": -1},
        {"nodes": [5]},
        {"name": "a b"},
        {"priority": 5000},
        {"command": {"argv": ["x"]}},
    ],
)
def test_what_is_no_order_is_refused_in_a_dry_run_too(
    own: Site, node: str, body: dict[str, Any]
) -> None:
    for dry_run in (False, True):
        order(own, node, 422, **body, dry_run=dry_run)
    assert listed(own) == []


def test_what_is_not_there_is_said(own: Site) -> None:
    order(own, "ffffffff", 404)
    for path in ("trials/ffffffff", "runs/nobody/trials", "runs/nobody/review"):
        assert own.client.get(f"{API}/{path}").status_code == 404
    for deed in ("cancel", "remove"):
        post(own, f"{API}/trials/ffffffff/{deed}", 404, {})
    post(own, f"{API}/trials/ffffffff/promote", 404, {"name": "x"})


def test_a_trial_is_cancelled_once(own: Site, node: str) -> None:
    made = order(own, node)
    ended = post(own, f"{API}/trials/{made['id']}/cancel", 200, {"reason": "enough"}).json
    assert (ended["state"], ended["error"]) == ("cancelled", "enough")
    post(own, f"{API}/trials/{made['id']}/cancel", 422, {})


def test_branches_are_removed_once_it_is_over(own: Site, node: str) -> None:
    made = order(own, node)
    assert "still trains" in post(own, f"{API}/trials/{made['id']}/remove", 422, {}).text
    over = lost(own, node)
    removed = post(own, f"{API}/trials/{over.id}/remove", 200, {}).json
    assert removed == {"trial": over.id, "branches": samples.branches_of(over), "nodes": 12}
    assert "no branches left" in post(own, f"{API}/trials/{over.id}/remove", 422, {}).text


def test_a_branch_of_its_own_is_made_of_a_trial_s(own: Site, node: str) -> None:
    over = lost(own, node)
    path = f"{API}/trials/{over.id}/promote"
    for body in (
        {"name": "x"},
        {"name": "x", "branch": "main"},
        {"branch": samples.branches_of(over)[0]},
    ):
        post(own, path, 422, body)
    post(own, path, 422, {"name": "main", "branch": samples.branches_of(over)[0]})
    kept = post(own, path, 200, {"name": "kept", "branch": samples.branches_of(over)[0]}).json
    assert kept == {"run": "digits", "branch": "kept"}
    sides = own.client.get(f"{API}/trials/{over.id}").get_json()["pairs"][0]["sides"]
    assert [side["branch"] for side in sides] == ["kept", samples.branches_of(over)[1]]
    post(own, f"{API}/trials/{over.id}/remove", 200, {})
    sides = own.client.get(f"{API}/trials/{over.id}").get_json()["pairs"][0]["sides"]
    assert [side["branch"] for side in sides] == ["kept", None]


def test_a_run_without_changes_has_an_empty_review(own: Site) -> None:
    review = own.client.get(f"{API}/runs/digits/review").get_json()
    assert (review["changes"], review["steps"], review["untried"]) == ([], 0, 0)
    assert post(own, f"{API}/runs/digits/review", 202, {}).json["changes"] == []


def test_a_review_is_previewed_and_ordered(own: Site, node: str) -> None:
    body = {"steps": 5, "repeats": 3}
    preview = post(own, f"{API}/runs/digits/review", 200, {**body, "dry_run": True}).json
    assert (preview["steps"], preview["untried"]) == (30, 1) and listed(own) == []
    short = post(own, f"{API}/runs/digits/review", 202, {**body, "budget": 29}).json
    assert "budget" in short["changes"][0]["why"] and listed(own) == []
    made = post(own, f"{API}/runs/digits/review", 202, body).json
    assert [row["trial"] for row in made["changes"]] == [trial["id"] for trial in listed(own)]
    again = post(own, f"{API}/runs/digits/review", 202, body).json
    assert again["steps"] == 0 and len(listed(own)) == 1
    post(own, f"{API}/runs/digits/review", 422, {"budget": 0})
