"""The settings that a resume of a node may change."""

from __future__ import annotations

import pytest

from branchtrack.cli.offered_settings import offered_settings
from branchtrack.core.records import Node
from branchtrack.errors import NotFound
from tests.trees_for_tests import Tree


def test_each_has_its_value_and_its_bounds(forked: tuple[Tree, list[Node]]) -> None:
    settings = {row["name"]: row for row in offered_settings(forked[0].database, "demo@20")}
    assert settings["lr"]["value"] == 0.02 and settings["lr"]["maximum"] == 100.0
    assert {"weight_decay", "max_grad_norm", "accept", "stop_at"} <= settings.keys()
    assert "counts from the node" in settings["stop_at"]["about"]
    with pytest.raises(NotFound):
        offered_settings(forked[0].database, "demo@21")
