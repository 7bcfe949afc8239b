"""Columns are of the same types in every table, and constraints have names that are known."""

from __future__ import annotations

from branchtrack.db.columns import DIGEST, ID, metadata
from branchtrack.db.tables import branches, nodes, tensors


def test_ids_and_digests_have_one_length_everywhere() -> None:
    assert nodes.c.id.type is ID and branches.c.run_id.type is ID
    assert tensors.c.digest.type is DIGEST and nodes.c.state_digest.type is DIGEST


def test_every_constraint_has_a_name() -> None:
    names = {key.name for table in metadata.tables.values() for key in table.constraints}
    assert None not in names and "pk_nodes" in names
