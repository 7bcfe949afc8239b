"""Several lines side by side as plain JSON values; see `payloads`.

Lists of ``values`` have one for each of ``sides``, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from sqlalchemy import Connection

from branchtrack.analysis.comparison import reading
from branchtrack.analysis.comparison.side_by_side import Rank, Row, SideBySide, rows, shared
from branchtrack.core.nonfinite import metric
from branchtrack.core.queries.directions import is_higher_better
from branchtrack.core.shards.composition import SETTING
from branchtrack.db.storage import compositions, texts


def side_by_side(connection: Connection, several: SideBySide) -> dict[str, Any]:
    """Return all differences between lines.

    ``settings`` and ``environment`` have what is not the same in all, ``data`` the share of each
    shard, ``metrics`` what the newest nodes were committed with.
    """
    settings = several.settings()
    ancestor = several.ancestor
    documents = read_documents(connection, several)
    return {
        "sides": [
            {
                "ref": line.ref,
                "run": line.run.name,
                "branch": None if line.members else line.branch.name,
                "members": [member.ref for member in line.members],
                "node": line.head.id if line.head else None,
                "step": line.head.step if line.head else None,
            }
            for line in several.lines
        ],
        "base": several.lines[several.base].ref,
        "common_ancestor": ancestor.id if ancestor else None,
        "common_step": several.fork_step,
        "settings": [_row(row) for row in settings if row.differs],
        "settings_in_all": len(settings),
        "metrics": [
            {"name": row.name, "values": [metric(value) for value in row.values]}
            for row in several.newest()
        ],
        "ranking": ranking(several),
        "changes": [
            {
                "refs": [line.ref for line in lines],
                "step": node.step,
                "node": node.id,
                "changes": [change.as_dict() for change in node.changes],
                "actor": node.actor,
                "message": node.message,
            }
            for lines, node in several.changes()
        ],
        "data": [_row(row) for row in shares(several, documents)],
        "environment": [_row(row) for row in surroundings(several, documents) if row.differs],
    }


def of_heads(connection: Connection, a_ref: str, b_ref: str) -> dict[str, Any]:
    """Return the ``data`` and ``environment`` of `side_by_side` in which two lines differ.

    Raises:
        NotFound, Ambiguous: a reference fits nothing, or several.
    """
    several = reading.read_heads(connection, [a_ref, b_ref])
    documents = read_documents(connection, several)
    compared = {
        "data": shares(several, documents),
        "environment": surroundings(several, documents),
    }
    return {
        name: [
            {"name": row.name, "a": row.values[0], "b": row.values[1]}
            for row in listed
            if row.differs
        ]
        for name, listed in compared.items()
    }


def ranking(several: SideBySide) -> dict[str, Any]:
    """Return the lines by their best value of the metric that they are ranked by."""
    name = several.ranked_by
    return {
        "metric": name,
        "higher_is_better": is_higher_better(name),
        "lines": [
            {
                "ref": rank.line.ref,
                "best": rank.best,
                "best_step": rank.best_step,
                "last": rank.last,
                "last_step": rank.last_step,
                "difference": difference,
            }
            for rank, difference in ranked(several)
        ],
    }


def ranked(several: SideBySide) -> list[tuple[Rank, float | None]]:
    """Return the lines, best first, each with the difference of its best value to the base's."""
    ranks = several.ranking(several.ranked_by)
    base = next(rank.best for rank in ranks if rank.line is several.lines[several.base])
    return [
        (rank, None if rank.best is None or base is None else rank.best - base) for rank in ranks
    ]


def read_documents(connection: Connection, several: SideBySide) -> dict[str, str]:
    """Return the texts for `shares` and `surroundings`, by the beginnings of their digests."""
    digests = _package_digests(several)
    packages = {digest[: texts.BEGINNING] for digest in digests if len(set(digests)) > 1}
    return texts.starting(connection, packages | compositions.beginnings(_compositions(several)))


def shares(several: SideBySide, documents: Mapping[str, str]) -> list[Row]:
    """Return the share of each shard in the data of each line; none if no line has shards."""
    values = _compositions(several)
    if not any(values):
        return []
    known = compositions.of_documents(values, documents)
    return rows([_shares(known, value) for value in values])


def surroundings(several: SideBySide, documents: Mapping[str, str]) -> list[Row]:
    """Return `SideBySide.environment`, and the packages whose versions differ.

    The packages of a group are those of all its members; one whose members differ has none.
    """
    digests = _package_digests(several)
    listed = several.environment()
    if all(digests):
        # What is installed is known: that one process has imported less says nothing.
        listed = [row for row in listed if not _is_imported_by_some(row)]
    if len({*digests} - {""}) < 2:
        return listed
    packages = rows([_packages(documents.get(digest[: texts.BEGINNING], "")) for digest in digests])
    names = {row.name for row in listed}
    known = [bool(digest) for digest in digests]
    differing = (row for row in packages if len({*compress(row.values, known)}) > 1)
    return listed + [row for row in differing if row.name not in names]


def _is_imported_by_some(row: Row) -> bool:
    return row.name.startswith("package ") and None in row.values


def _compositions(several: SideBySide) -> list[Any]:
    return [
        shared(line, lambda one: one.head.settings.get(SETTING) if one.head else None)
        for line in several.lines
    ]


def _package_digests(several: SideBySide) -> list[str]:
    return [shared(line, lambda one: one.code.get("packages")) or "" for line in several.lines]


def _packages(text: str) -> dict[str, str]:
    pairs = (line.partition("==") for line in text.split())
    return {f"package {name}": version for name, _, version in pairs}


def _shares(known: Mapping[Any, Any], value: Any) -> dict[str, float]:
    shards: Sequence[Any] = known[value].shards if value in known else ()
    total = sum(shard.effective_weight for shard in shards)
    return {shard.name: shard.effective_weight / total for shard in shards}


def _row(row: Row) -> dict[str, Any]:
    return {"name": row.name, "values": list(row.values)}
