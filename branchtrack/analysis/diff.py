"""What differs: the settings of two nodes, and two branches since they parted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from branchtrack.core import tree
from branchtrack.core.records import Branch, Node
from branchtrack.db import metrics, nodes


@dataclass(frozen=True)
class SettingDifference:
    """A setting with unlike values at two nodes; None where a node does not have it."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class BranchDifference:
    """Two branches against each other.

    ``ancestor`` is the nearest node above both heads; ``changes_a`` and ``changes_b`` are the
    nodes with changes on each side since it, oldest first; ``metrics`` maps a name to the newest
    values on both sides.
    """

    ancestor: Node | None
    settings: tuple[SettingDifference, ...]
    settings_in_all: int
    changes_a: tuple[Node, ...]
    changes_b: tuple[Node, ...]
    metrics: dict[str, tuple[float | None, float | None]]


def settings_difference(
    a: Mapping[str, Any], b: Mapping[str, Any]
) -> tuple[SettingDifference, ...]:
    """The settings whose values differ, by name."""
    return tuple(
        SettingDifference(name, a.get(name), b.get(name))
        for name in sorted({*a, *b})
        if a.get(name) != b.get(name)
    )


def nodes_difference(connection: Connection, a: Node, b: Node) -> BranchDifference:
    """Everything that differs between the lines that end in nodes ``a`` and ``b``."""
    above_a, above_b = _line(connection, a), _line(connection, b)
    common = next((node for node in above_b if node.id in {n.id for n in above_a}), None)
    return BranchDifference(
        ancestor=common,
        settings=settings_difference(a.settings, b.settings),
        settings_in_all=len({*a.settings, *b.settings}),
        changes_a=_changes_below(above_a, common),
        changes_b=_changes_below(above_b, common),
        metrics=_side_by_side(a.metrics, b.metrics),
    )


def branches_difference(connection: Connection, a: Branch, b: Branch) -> BranchDifference:
    """Everything that differs between two branches with at least one node each."""
    head_a, head_b = (nodes.get(connection, branch.head_id or "") for branch in (a, b))
    now = metrics.last_values(connection, [a.segment_id or "", b.segment_id or ""])
    return replace(
        nodes_difference(connection, head_a, head_b),
        metrics=_side_by_side(
            {**head_a.metrics, **now[a.segment_id or ""]},
            {**head_b.metrics, **now[b.segment_id or ""]},
        ),
    )


def _line(connection: Connection, node: Node) -> list[Node]:
    by_id = {other.id: other for other in nodes.list_of_run(connection, node.run_id)}
    parents = {other.id: other.parent_id for other in by_id.values()}
    return [by_id[name] for name in tree.ancestors(node.id, parents)]


def _changes_below(line: list[Node], ancestor: Node | None) -> tuple[Node, ...]:
    below: list[Node] = []
    for node in line:
        if ancestor is not None and node.id == ancestor.id:
            break
        if node.changes:
            below.append(node)
    return tuple(reversed(below))


def _side_by_side(
    a: Mapping[str, float | None], b: Mapping[str, float | None]
) -> dict[str, tuple[float | None, float | None]]:
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b})}
