"""The data of a branch is read with its model."""

from __future__ import annotations

from branchtrack.schemas.shards import BranchData


def test_a_branch_without_shards_is_read_too() -> None:
    facts = {"branch": "demo/main", "node": None, "step": None, "value": None, "samples": 0}
    assert BranchData.model_validate({**facts, "shards": [], "changes": []}).shards == []
