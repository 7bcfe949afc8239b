"""How much runs and branches take up, and what deleting a branch would free."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from branchtrack.db.storage import references, sizes
from branchtrack.db.storage.sizes import BranchRow, Holder
from branchtrack.retention import policies


@dataclass(frozen=True)
class Usage:
    """What nodes take up; ``logical_bytes`` if each had its own files, ``stored_bytes`` of tensors.

    ``thinned`` counts the nodes of which not everything is left. ``frees`` are the stored bytes
    that nothing else needs; of what is ``trashed`` its purge frees them.
    """

    name: str
    nodes: int
    logical_bytes: int
    stored_bytes: int
    thinned: int
    frees: int
    trashed: bool = False


@dataclass(frozen=True)
class RunUsage:
    """A run: all of it together, and each branch."""

    id: str
    usage: Usage
    policy: policies.Policy
    branches: tuple[Usage, ...]


@dataclass(frozen=True)
class Report:
    """Everything; ``stored_bytes`` are of packs, ``unused_bytes`` of tensors that nothing needs.

    ``packs`` are those that tensors are read from.
    """

    runs: tuple[RunUsage, ...]
    packs: frozenset[str]
    stored_bytes: int
    unused_bytes: int
    free_bytes: int


def report(connection: Connection, home: Path) -> Report:
    """Return the sizes of all runs; ``home`` is on the disk whose free bytes are told.

    A tensor that branches share counts for each of them, and is freed with none.
    """
    holders = sizes.holders(connection)
    parts = _Parts(holders)
    parts.count(connection)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for holder in holders:
        count = counts[holder.branch_id]
        count[0] += holder.nodes
        count[1] += holder.nodes * holder.logical_bytes
        count[2] += holder.nodes * (holder.thinned is not None)
    rows: dict[str, list[BranchRow]] = defaultdict(list)
    for row in sizes.branch_rows(connection):
        rows[row.run_id].append(row)
    return Report(
        tuple(_run(run_id, branches, counts, parts) for run_id, branches in rows.items()),
        frozenset(parts.packs),
        sum(sizes.pack_bytes(connection).values()),
        parts.unused,
        shutil.disk_usage(home).free,
    )


def as_json(report: Report, leftover_bytes: int) -> dict[str, Any]:
    """Return the report as commands and the API print it."""
    return {
        "runs": [
            {
                **vars(run.usage),
                "policy": run.policy.as_json(),
                "branches": [vars(branch) for branch in run.branches],
            }
            for run in report.runs
        ],
        "stored_bytes": report.stored_bytes,
        "unused_bytes": report.unused_bytes,
        "free_bytes": report.free_bytes,
        "leftover_bytes": leftover_bytes,
    }


class _Parts:
    """The bytes of tensors by the branches and runs that need them.

    Checkpoints of the same branches are counted together: trees have many nodes, few such sets.
    """

    def __init__(self, holders: Iterable[Holder]) -> None:
        self.of_branch: dict[str, int] = defaultdict(int)
        self.of_run: dict[str, int] = defaultdict(int)
        self.only: dict[str, int] = defaultdict(int)
        self.unused = 0
        self.packs: set[str] = set()
        branches: dict[str, set[str]] = defaultdict(set)
        for holder in holders:
            branches[holder.checkpoint].add(holder.branch_id)
        self._sets = {digest: frozenset(ids) for digest, ids in branches.items()}
        self._run_of = {holder.branch_id: holder.run_id for holder in holders}

    def count(self, connection: Connection) -> None:
        """Add up the bytes of every stored tensor."""
        needed: dict[str, frozenset[str]] = {}
        nobody = frozenset[str]()
        for reference in references.of_all(connection):
            group = self._sets.get(reference.checkpoint, nobody)
            for digest in reference.tensors:
                known = needed.setdefault(digest, group)
                if known is not group and known != group:
                    needed[digest] = known | group
        by_group: dict[frozenset[str], int] = defaultdict(int)
        for digest, pack, nbytes in sizes.tensor_sizes(connection):
            self.packs.add(pack)
            by_group[needed.get(digest, nobody)] += nbytes
        self.unused = by_group.pop(nobody, 0)
        for group, nbytes in by_group.items():
            self._add(group, nbytes)

    def _add(self, group: frozenset[str], nbytes: int) -> None:
        runs = {self._run_of[branch] for branch in group}
        for branch in group:
            self.of_branch[branch] += nbytes
        for run in runs:
            self.of_run[run] += nbytes
        for holder in group if len(group) == 1 else ():
            self.only[holder] += nbytes
        if len(runs) == 1:
            self.only[next(iter(runs))] += nbytes


def _run(
    run_id: str,
    rows: list[BranchRow],
    counts: Mapping[str, list[int]],
    parts: _Parts,
) -> RunUsage:
    branches = []
    for row in rows:
        nodes, logical, thinned = counts[row.branch_id]
        stored, frees = parts.of_branch[row.branch_id], parts.only[row.branch_id]
        usage = Usage(row.branch, nodes, logical, stored, thinned, frees, bool(row.is_trashed))
        branches.append(usage)
    usage = Usage(
        rows[0].run,
        sum(branch.nodes for branch in branches),
        sum(branch.logical_bytes for branch in branches),
        parts.of_run[run_id],
        sum(branch.thinned for branch in branches),
        parts.only[run_id],
        bool(rows[0].is_run_trashed),
    )
    return RunUsage(run_id, usage, policies.from_json(rows[0].retention), tuple(branches))
