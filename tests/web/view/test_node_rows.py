"""The rows of the node table."""

from __future__ import annotations

import math

from branchtrack.core.records import Change
from branchtrack.web.view import node_rows
from tests.web.charts.test_timeline import view
from tests.web.conftest import Site

CHANGES = (Change("lr", 5e-3, 1e-3), Change("weight_decay", 0.0, 0.1))


def test_every_change_is_proved_by_what_the_next_update_used() -> None:
    effective = {"step": 401, "verified": True, "lr": 1e-3, "weight_decay": 0.1, "lr_now": 9e-4}
    found = node_rows.proofs(CHANGES, effective)
    assert [(one.name, one.held, one.step) for one in found] == [
        ("lr", True, 401),
        ("weight_decay", True, 401),
    ]


def test_another_value_than_was_asked_for_proves_the_contrary() -> None:
    found = node_rows.proofs(CHANGES, {"step": 401, "lr": 5e-3, "weight_decay": 0.1})
    assert [one.held for one in found] == [False, True]
    assert found[0].summary == "lr 5e-3 used at step 401"


def test_what_the_trainer_did_not_verify_is_not_verified_here() -> None:
    effective = {"step": 401, "verified": False, "lr": 1e-3, "weight_decay": 0.1}
    assert not any(one.held for one in node_rows.proofs(CHANGES, effective))


def test_before_it_is_read_back_nothing_is_proved() -> None:
    assert node_rows.proofs(CHANGES, None) == ()
    assert node_rows.proofs(CHANGES, {"step": 401}) == ()


def test_the_last_bits_of_a_float_do_not_matter() -> None:
    assert node_rows.same(0.1 + 0.2, 0.3)
    assert not node_rows.same(0.31, 0.3)
    assert not node_rows.same(math.nan, 0.3)
    assert node_rows.same("cosine", "cosine") and not node_rows.same("cosine", 1)


def test_where_a_parent_is_hidden_its_nearest_shown_ancestor_takes_its_place(site: Site) -> None:
    tree = view(site, "gpt2-docs", 0.0, ("main", "more-decay"))
    found = node_rows.build(tree, "loss", only=["main", "more-decay"])
    assert {row.branch.name for row in found} == {"main", "more-decay"}
    assert {row.gutter.width for row in found} == {2}


def test_a_fork_has_no_difference_from_its_parent_and_an_origin(site: Site) -> None:
    found = node_rows.build(view(site, "gpt2-docs", 0.0), "loss")
    forks = [row for row in found if row.node.kind == "fork"]
    assert [(row.branch.name, row.origin, row.delta) for row in forks] == [
        ("more-decay", "cooler", None),
        ("cooler", "main", None),
        ("hot", "main", None),
    ]


def test_the_difference_is_from_the_parent(site: Site) -> None:
    found = node_rows.build(view(site, "gpt2-docs", 0.0), "eval_loss")
    last = next(row for row in found if row.branch.name == "cooler")
    assert last.delta is not None and math.isclose(last.delta, 2.09 - 2.11)


def test_momentum_of_a_cycle_is_told_as_the_update_used_it() -> None:
    used = {"step": 25, "verified": True, "momentum": 0.3, "momentum_now": 0.27}
    (proof,) = node_rows.proofs((Change("momentum", 0.95, 0.3),), used)
    assert proof.held and proof.summary == "momentum 0.27 of a cycle up to 0.3 used at step 25"


def test_a_row_does_not_repeat_a_long_value_that_is_in_force() -> None:
    shards = "code:1 prose:3 chat:0 forum:0.5 @5b27eb15732c7584"
    (proof,) = node_rows.proofs(
        [Change("data.shards", "", shards)], {"step": 9, "data.shards": shards}
    )
    assert proof.held and proof.summary == "data.shards used at step 9"
    (other,) = node_rows.proofs(
        [Change("data.shards", "", "code:1")], {"step": 9, "data.shards": shards}
    )
    assert not other.held and other.summary == f"data.shards {shards} used at step 9"
