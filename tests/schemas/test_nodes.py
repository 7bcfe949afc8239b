"""Nodes in pages."""

from __future__ import annotations

from branchtrack.schemas.nodes import Change, NodePage, NumberedNode, TreeNode


def test_a_node_of_a_page_has_the_cursor_of_the_next() -> None:
    assert set(NumberedNode.model_fields) - set(TreeNode.model_fields) == {"seq"}
    assert NodePage.items in NodePage.model_fields


def test_a_change_says_its_step_only_where_that_is_not_the_nodes() -> None:
    assert Change.model_validate({"name": "lr", "before": 1, "after": 2}).step is None
