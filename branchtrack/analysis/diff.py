"""Differences between the settings of two nodes, and between two branches since they parted.

A line is a node and its ancestors, nearest first. Pages, shell and API all use this module to find
where two lines part and what has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from branchtrack.core.records import Branch, Change, Node
from branchtrack.db import metrics, nodes
from branchtrack.db.views import tree_outline
from branchtrack.db.views.tree_outline import NodeMark


class OnLine(Protocol):
    """The part of a node that is needed here; whole nodes and summaries both have it."""

    @property
    def id(self) -> str: ...

    @property
    def changes(self) -> tuple[Change, ...]: ...


_OnLine = TypeVar("_OnLine", bound=OnLine)


@dataclass(frozen=True)
class SettingDifference:
    """A setting whose values differ at two nodes; None if a node does not have it."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class BranchDifference:
    """The differences between two branches.

    ``ancestor`` is the nearest common ancestor of both heads; ``changes_a`` and ``changes_b`` are
    the nodes with changes on each side since, oldest first; ``metrics`` maps a name to the newest
    values on both sides.
    """

    ancestor: NodeMark | None
    settings: tuple[SettingDifference, ...]
    settings_in_all: int
    changes_a: tuple[Node, ...]
    changes_b: tuple[Node, ...]
    metrics: dict[str, tuple[float | None, float | None]]


def settings_difference(
    a: Mapping[str, Any], b: Mapping[str, Any]
) -> tuple[SettingDifference, ...]:
    """Return the settings whose values differ, by name."""
    return tuple(
        SettingDifference(name, a.get(name), b.get(name))
        for name in sorted({*a, *b})
        if a.get(name) != b.get(name)
    )


def common_ancestor(line: Sequence[_OnLine], other: Sequence[_OnLine]) -> _OnLine | None:
    """Return the nearest node on both lines, or None for lines of different trees."""
    ids = {node.id for node in line}
    return next((node for node in other if node.id in ids), None)


def changed_since(line: Sequence[_OnLine], ancestor: OnLine | None) -> list[_OnLine]:
    """Return the nodes of a line with changes below ``ancestor``, nearest first."""
    changed = []
    for node in line:
        if ancestor is not None and node.id == ancestor.id:
            break
        changed += [node] if node.changes else []
    return changed


def nodes_difference(connection: Connection, a: Node, b: Node) -> BranchDifference:
    """Return all differences between the lines that end in nodes ``a`` and ``b``."""
    above_a, above_b = (tree_outline.ancestors(connection, node.id) for node in (a, b))
    common = common_ancestor(above_a, above_b)
    changed = [[mark.id for mark in changed_since(line, common)] for line in (above_a, above_b)]
    whole = tree_outline.nodes_by_id(connection, [*changed[0], *changed[1]])
    changes_a, changes_b = (tuple(whole[node_id] for node_id in ids[::-1]) for ids in changed)
    return BranchDifference(
        ancestor=common,
        settings=settings_difference(a.settings, b.settings),
        settings_in_all=len({*a.settings, *b.settings}),
        changes_a=changes_a,
        changes_b=changes_b,
        metrics=_side_by_side(a.metrics, b.metrics),
    )


def branches_difference(connection: Connection, a: Branch, b: Branch) -> BranchDifference:
    """Return all differences between two branches with at least one node each."""
    head_a, head_b = (nodes.get(connection, branch.head_id or "") for branch in (a, b))
    now = metrics.last_values(connection, [a.segment_id or "", b.segment_id or ""])
    return replace(
        nodes_difference(connection, head_a, head_b),
        metrics=_side_by_side(
            {**head_a.metrics, **now[a.segment_id or ""]},
            {**head_b.metrics, **now[b.segment_id or ""]},
        ),
    )


def _side_by_side(
    a: Mapping[str, float | None], b: Mapping[str, float | None]
) -> dict[str, tuple[float | None, float | None]]:
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b})}
