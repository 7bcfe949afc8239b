"""Orders by the API: one branch, several, what they would do, and refusals."""

from __future__ import annotations

from typing import Any

from branchtrack.control.launchers import profiles
from branchtrack.core.actors import Actor
from branchtrack.db import runs
from tests.web.api.test_requests import post
from tests.web.conftest import Site


def resume(own: Site, status: int, **body: Any) -> Any:
    return post(own, f"/api/v1/nodes/{own.node('main')}/resume", status, body).json


def branches(own: Site) -> list[str]:
    with own.database.read() as connection:
        run = runs.find_run(connection, "digits")
        return [branch.name for branch in runs.list_branches(connection, run.id)]


def test_a_node_is_resumed(own: Site) -> None:
    made = resume(own, 202, settings={"lr": 1e-3}, name="lower", reason="try")
    assert (made["branch"], made["overrides"], made["state"]) == ("lower", {"lr": 1e-3}, "queued")
    assert made["group"] is None


def test_what_is_no_order_is_refused(own: Site) -> None:
    before = branches(own)
    for bad in (
        {"settings": []},
        {"name": 5},
        {"mode": []},
        {"node": "x"},
        {"reason": 1},
        {"grid": {"lr": 1e-3}},
        {"grid": []},
        {"nodes": "main"},
        {"nodes": [5]},
        {"group": 5},
        {"dry_run": "yes"},
        {"without_change": 1},
        {"settings": {"lr": [1e-3, -1]}},
        {"settings": {"lr": "x1e999999999"}},
        {"settings": {"stop_at": "+1e5000"}},
        {"grid": {"stop_at": [f"+{'9' * 5000}", "x1e5000"]}},
    ):
        resume(own, 422, **bad)
    assert branches(own) == before


def test_lists_and_grids_are_one_branch_each(own: Site) -> None:
    made = resume(own, 202, settings={"lr": ["x0.5", 1e-3]}, name="rate")
    assert [each["branch"] for each in made] == ["rate-lr-x0.5", "rate-lr-0.001"]
    assert [each["overrides"]["lr"] for each in made] == [0.0025, 1e-3]
    assert {each["group"] for each in made} == {"rate"}
    grid = {"lr": [1e-3, 2e-3], "weight_decay": "0,0.1"}
    assert len(resume(own, 202, grid=grid, group="sweep")) == 4


def test_several_nodes_get_the_same_change(own: Site) -> None:
    made = resume(own, 202, nodes=["digits@0"], settings={"lr": "x0.5"}, name="cool")
    assert len(made) == 2 and made[1]["branch"] == "cool-at-0"


def test_a_dry_run_orders_nothing(own: Site) -> None:
    before = branches(own)
    preview = resume(own, 200, settings={"lr": "1e-3,-1"}, dry_run=True)
    assert [line["branch"] for line in preview["branches"]] == ["lr-1e-3", "lr--1"]
    assert (preview["refused"], preview["group"]) == (1, "lr")
    assert branches(own) == before


def test_a_dry_run_refuses_a_relative_value_beyond_every_number(own: Site) -> None:
    preview = resume(own, 200, settings={"stop_at": "+1e5000"}, dry_run=True)
    assert preview["refused"] == 1
    error = preview["branches"][0]["error"]
    assert error["field"] == "stop_at" and "too large a number" in error["what"]


def test_a_dry_run_is_refused_for_what_the_order_is_refused_for(own: Site) -> None:
    for bad in ({"labels": ["two words"]}, {"name": "main"}, {"group": "a b"}, {"priority": 5000}):
        errors = [resume(own, 422, **bad)["error"]]
        if "name" not in bad:  # A name that is taken refuses one branch of those in a preview.
            errors.append(resume(own, 422, **bad, dry_run=True)["error"])
        assert {error["field"] for error in errors} == {*bad}


def test_a_node_without_a_change_has_no_other_road(own: Site) -> None:
    refused = resume(own, 422, without_change=True)
    assert refused["error"]["field"] == "without_change"


def test_an_order_names_a_profile_of_a_cluster_and_nothing_else(own: Site) -> None:
    launcher = profiles.add(own.database, "gpu", "slurm", ["-p", "main"], actor=Actor("ann"))
    listed = own.client.get("/api/v1/launchers").json
    assert listed == {"launchers": [{"name": "gpu", "kind": "slurm"}]}
    made = resume(own, 202, name="far", on=launcher.name)
    assert (made["launcher"], made["where"]) == ("gpu", "Slurm: not submitted yet")
    empty = dict.fromkeys(("id", "state", "host", "reason"))
    assert made["job"] == {"kind": "slurm", **empty}
    here = resume(own, 202, name="here")
    assert (here["launcher"], here["job"], here["where"]) == (None, None, "")
    before = branches(own)
    for bad in ("slurm", "tpu", "-p main", ["-p"], {"kind": "slurm"}):
        resume(own, 422, name="bad", on=bad)
    resume(own, 422, name="bad", launcher={"kind": "slurm"})
    # Labels choose a worker, and none starts it.
    for dry_run in (True, False):
        error = resume(own, 422, name="bad", on="gpu", labels=["big"], dry_run=dry_run)["error"]
        assert error["field"] == "labels" and "no worker" in str(error)
    node = own.node("main")
    labelled = {"same": True, "steps": 1, "repeats": 1, "on": "gpu", "labels": ["big"]}
    refused = post(own, f"/api/v1/nodes/{node}/trials", 422, labelled)
    assert (refused.json or {})["error"]["field"] == "labels"
    trial = {"same": True, "steps": 1, "repeats": 1, "on": "tpu"}
    post(own, f"/api/v1/nodes/{node}/trials", 422, trial)
    assert branches(own) == before
