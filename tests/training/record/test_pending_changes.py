"""Changes that no node lists yet are listed by the next, once, with the values that mattered."""

from __future__ import annotations

from dataclasses import replace

from branchtrack.core.records import Change, NewNode
from branchtrack.training.record.pending_changes import PendingChanges, merged

NEW = NewNode(
    run_id="r",
    branch_id="b",
    segment_id="s",
    parent_id=None,
    step=9,
    epoch=0.0,
    kind="checkpoint",
    state_digest="",
    settings={},
    param_groups=[],
)


def change(name: str, before: float, after: float) -> tuple[Change, ...]:
    return (Change(name, before, after),)


def since(step: int, name: str, before: float, after: float) -> tuple[Change, ...]:
    return (Change(name, before, after, step),)


def test_a_node_is_as_it_is_where_nothing_was_lost() -> None:
    assert PendingChanges().merge_into(NEW) is NEW


def test_several_changes_of_one_setting_are_one_from_the_first_to_the_last() -> None:
    found = merged([Change("lr", 1, 2), Change("wd", 0, 1), Change("lr", 2, 3)])
    assert found == (Change("lr", 1, 3), Change("wd", 0, 1))


def test_what_was_undone_is_no_change() -> None:
    assert merged([Change("lr", 1, 2), Change("lr", 2, 1)]) == ()


def test_what_was_lost_comes_before_what_is_new() -> None:
    carried = PendingChanges()
    carried.add(5, change("lr", 1, 2))
    node = carried.merge_into(replace(NEW, changes=change("lr", 2, 3), message="why"))
    assert node.changes == change("lr", 1, 3) and node.kind == "intervention"
    assert node.message == "why; lr was changed at step 5, where no node could be created"
    carried.clear()
    assert carried.merge_into(NEW) is NEW


def test_commits_that_fail_out_of_order_are_told_in_the_order_of_steps() -> None:
    carried = PendingChanges()
    carried.add(6, change("lr", 2, 3))
    carried.add(5, change("lr", 1, 2))
    assert carried.merge_into(NEW).changes == since(6, "lr", 1, 3)


def test_a_node_that_fails_in_its_turn_hands_its_changes_on() -> None:
    carried = PendingChanges()
    carried.add(5, change("lr", 1, 2))
    failed = carried.merge_into(replace(NEW, step=6, changes=change("wd", 0, 1)))
    carried.add(failed.step, failed.changes)
    node = carried.merge_into(NEW)
    assert node.changes == (*since(5, "lr", 1, 2), *since(6, "wd", 0, 1))
    assert "lr was changed at step 5" in node.message and "wd was changed at step 6" in node.message


def test_a_change_says_where_it_took_effect_unless_that_is_where_its_node_is() -> None:
    carried = PendingChanges()
    carried.add(5, change("lr", 1, 2))
    assert [one.as_dict() for one in carried.merge_into(NEW).changes] == [
        {"name": "lr", "before": 1, "after": 2, "step": 5}
    ]
    carried.add(NEW.step, change("lr", 1, 2))
    assert [one.as_dict() for one in carried.merge_into(NEW).changes] == [
        {"name": "lr", "before": 1, "after": 2}
    ]


def test_a_final_node_stays_one() -> None:
    carried = PendingChanges()
    carried.add(5, change("lr", 1, 2))
    assert carried.merge_into(replace(NEW, kind="final")).kind == "final"
