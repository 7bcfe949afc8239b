"""The path from the root of a run to a node: the stretches of segments that lead to it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from branchtrack.core.records import Node, Request, Segment
from branchtrack.db import nodes, requests, segments


@dataclass(frozen=True)
class Stretch:
    """The part of a segment on a path: its nodes, up to the one where the next begins.

    ``is_whole``: the path leads to the segment's end, whatever that is by now. ``after`` is the
    node of the segment that it begins after, if it is not all of the segment.
    """

    segment: Segment
    nodes: list[Node]
    is_whole: bool
    after: Node | None = None

    def has(self, request: Request) -> bool:
        """Return whether a request to the segment was carried out on the path."""
        if request.step is None:
            return False
        is_listed = any(node.id == request.node_id for node in self.nodes)
        if is_listed or (self.is_whole and self.after is None):
            return True
        if request.node_id is not None:
            return False
        # Its own node was not committed: only its step says where it was.
        last = self.nodes[-1].step if self.nodes else -1
        is_early = self.after is not None and request.step <= self.after.step
        return not is_early and (self.is_whole or request.step < last)

    def carried_out(self, connection: Connection) -> list[Request]:
        """Return the changes that were made on the path on request, in order."""
        rows = requests.carried_out(connection, self.segment.id)
        return [request for request in rows if self.has(request)]


def path_of_branch(connection: Connection, segment_id: str) -> list[Stretch]:
    """Return the stretches from the root to the end of a branch's newest segment."""
    return _path(connection, segment_id, None)


def path_to(connection: Connection, node: Node) -> list[Stretch]:
    """Return the stretches from the root to a node."""
    return _path(connection, node.segment_id, node)


def _path(connection: Connection, segment_id: str, cut: Node | None) -> list[Stretch]:
    stretches: list[Stretch] = []
    current: str | None = segment_id
    while current is not None:
        segment = segments.get(connection, current)
        made = [
            node
            for node in nodes.of_segment(connection, segment.id)
            if cut is None or node.seq <= cut.seq
        ]
        stretches.append(Stretch(segment, made, cut is None))
        if segment.start_node_id is None:
            break
        cut = nodes.get(connection, segment.start_node_id)
        current = cut.segment_id
    return stretches[::-1]
