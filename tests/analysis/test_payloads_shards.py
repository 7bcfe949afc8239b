"""What a branch has trained from: shards, samples of each, changes."""

from __future__ import annotations

from typing import Any

from branchtrack.analysis.payloads_shards import branch_data
from branchtrack.checkpoints.packs import Store
from branchtrack.core.shards import composition
from branchtrack.db import runs
from branchtrack.db.engine import Database
from branchtrack.db.storage import texts
from tests.web import seeds


def data_of(database: Database, name: str) -> dict[str, Any]:
    with database.read() as connection:
        return branch_data(connection, runs.find_branch(connection, name))


def test_samples_are_listed_by_shard_with_those_of_the_branch_itself(
    database: Database, store: Store
) -> None:
    grower = seeds.Grower(database, store, "live")
    main = grower.line("main")
    main.draw(100)
    assert main.head is not None
    line, _launch = grower.order(main.head, "other", lr=1e-4)
    line.drawn = {key: count + 10 for key, count in (main.drawn or {}).items()}
    line.settings = main.settings
    line.commit("checkpoint", 220)
    facts = data_of(database, "live/other")
    assert (facts["step"], facts["samples"], facts["value"]) == (220, 1330, seeds.AFTER.value)
    by_name = {shard["name"]: shard for shard in facts["shards"]}
    assert {name: shard["own_samples"] for name, shard in by_name.items()} == {
        "code": 10,
        "prose": 10,
        "chat": 10,
    }
    assert by_name["prose"]["share"] == 0.6 and by_name["code"]["passes"] == 310 / 1200
    assert [(change["step"], change["value"]) for change in facts["changes"]] == [
        (50, seeds.BEFORE.value),
        (100, seeds.AFTER.value),
    ]


def test_a_shard_that_was_removed_is_listed_last(database: Database, store: Store) -> None:
    line = seeds.Grower(database, store, "live").line("main")
    line.draw(100)
    line.commit("intervention", 300, {"data.shards": seeds.BEFORE.value})
    *_present, last = data_of(database, "live")["shards"]
    assert (last["name"], last["in_use"], last["weight"], last["share"]) == (
        "chat",
        False,
        None,
        None,
    )
    assert last["samples"] == 100


def test_a_change_relative_to_the_node_of_a_fork_is_listed_once(
    database: Database, store: Store
) -> None:
    main = seeds.Grower(database, store, "live").line("main")
    main.draw(100)
    reference = seeds.AFTER.value.rpartition("@")[2]
    asked = f"chat:9 -code of @{reference}"
    made = composition.changed_by(asked, seeds.AFTER)
    with database.transaction() as connection:
        texts.put(connection, made.document)
    main.commit("fork", 100, {"data.shards": asked})
    facts = data_of(database, "live")
    assert (facts["value"], facts["changes"][-1]["value"]) == (made.value, made.value)
    main.commit("checkpoint", 120, {"data.shards": made.value})
    facts = data_of(database, "live")
    assert [(change["step"], change["value"]) for change in facts["changes"]][-2:] == [
        (100, seeds.AFTER.value),
        (100, made.value),
    ]


def test_a_branch_without_shards_or_nodes_has_none(database: Database, store: Store) -> None:
    line = seeds.Grower(database, store, "plain").line("main")
    assert data_of(database, "plain")["node"] is None
    line.commit("root", 0)
    facts = data_of(database, "plain")
    assert facts["node"] and facts["value"] is None
    assert (facts["shards"], facts["changes"], facts["samples"]) == ([], [], 0)
