"""Options of `resume` become an order."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.cli import launch_orders
from branchtrack.control import ForkOrder
from branchtrack.core.records import Node
from branchtrack.errors import InvalidInput
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def read(tree: Tree, node: str, **options: Any) -> tuple[ForkOrder, dict[str, Any]]:
    defaults: dict[str, Any] = {
        **dict.fromkeys(("values", "grid", "accepted", "assignments"), ()),
        **dict.fromkeys(("name", "group", "script", "cwd")),
        **dict.fromkeys(("without_change", "resize", "keep_env", "strict"), False),
        "mode": None,
        "reason": "",
        "priority": None,
        "labels": "gpu",
        "retries": 2,
        "allow_code_change": False,
    }
    return launch_orders.read_order(tree.database, node, **{**defaults, **options})


def test_nodes_settings_and_grid_are_read(forked: Forked) -> None:
    order, details = read(
        forked[0],
        "demo@10, demo@20",
        values=("lr=1,2",),
        grid=("weight_decay=0,0.1",),
        accepted=("a,b",),
        assignments=("X=1",),
        reason="why",
    )
    assert order == ForkOrder(
        ["demo@10", "demo@20"],
        {"lr": "1,2", "accept": "a,b"},
        {"weight_decay": ["0,0.1"]},
    )
    assert details == {
        "reason": "why",
        "strict": False,
        "environment": {"given": {"X": "1"}, "keep": False},
        "entry_point": None,
        "priority": None,
        "labels": ["gpu"],
        "retries": 2,
        "allow_code_change": False,
    }


@pytest.mark.parametrize("options", [{"values": ("lr",)}, {"values": ("lr=1", "lr=2")}])
def test_a_setting_without_a_value_or_with_two_is_refused(
    forked: Forked, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        read(forked[0], "demo", **options)
