"""What a live page shows already, so that only changes are rendered and sent.

The address that the page uses for its live part says what it shows; the server stores nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import request

from branchtrack.db.views.tree_nodes import TreeNodes
from branchtrack.web.charts.timeline import Drawing
from branchtrack.web.svg import timeline
from branchtrack.web.svg.timeline import Domain
from branchtrack.web.view.node_rows import NodeRow
from branchtrack.web.view.tree import BranchView

#: The share of the axis that a training branch moves before its lanes are drawn again.
_STEPS_OF_AXIS = 200
#: With more lanes or rows all are sent, because the address has to stay short.
_WORDS = 250
#: Characters of an id that distinguish the rows of a page.
_PREFIX = 6
_IS_WORD = re.compile(r"[0-9a-f]{8,14}")


@dataclass(frozen=True)
class RowChanges:
    """Rows to put on top, oldest first, rows to replace, and id prefixes of rows to remove."""

    added: Sequence[NodeRow]
    changed: Sequence[NodeRow]
    gone: Sequence[str]


@dataclass
class Sent:
    """What the browser has of a page; everything is sent if ``live_only`` is false.

    ``lanes`` and ``nodes`` are digests of what these parts show now, ``each_lane`` and ``each_row``
    of the items in them, which tell a few changed items from the others.
    """

    live_only: bool
    is_drawn: bool = False
    lanes: str = ""
    nodes: str = ""
    each_lane: str = ""
    each_row: str = ""

    @property
    def has_lanes(self) -> bool:
        """Return whether the browser shows the timeline, the facts and the values as they are."""
        return self.live_only and self.lanes == request.args.get("lanes")

    @property
    def has_nodes(self) -> bool:
        """Return whether the browser shows the rows of nodes as they are."""
        return self.live_only and self.nodes == request.args.get("nodes")

    def drawn(self, total: int, requested: str | None) -> str | None:
        """Return the metric that the browser draws, if it is still the one to show of ``total``."""
        count, _, metric = request.args.get("drawn", "").partition(".")
        is_same = self.live_only and count == str(total) and requested in (None, metric)
        return metric if is_same and metric else None

    def check_lanes(
        self, cursor: int, metric: str, domain: Domain, branches: Sequence[BranchView]
    ) -> None:
        """Record what the lanes show; the script alone draws a little progress."""
        span = max(1, domain.high - domain.low)
        states = [
            (view.name, view.status, view.step * _STEPS_OF_AXIS // span if view.is_live else 0)
            for view in branches
        ]
        self.lanes = _word(cursor, metric, domain, states)

    def check_nodes(self, metric: str, nodes: TreeNodes) -> None:
        """Record what the rows show; a value may be read back without any event."""
        read_back = [(node.id, node.effective, node.compared) for node in nodes.page]
        self.nodes = _word(metric, nodes.older, nodes.newer, read_back)

    def take_over(self) -> None:
        """Repeat the earlier digests of what has not changed and is not read again."""
        self.each_lane = ".".join(self._sent("each_lane")) if self.has_lanes else ""
        self.each_row = ".".join(self._sent("each_row")) if self.has_nodes else ""

    def changed_lanes(self, drawing: Drawing, values: Sequence[Any]) -> list[int] | None:
        """Return the lanes that have changed in the browser; None if all have to be sent.

        ``values`` holds the values beside each lane.
        """
        places = [(lane.name, lane.style, lane.start, lane.parent) for lane in drawing.lanes]
        words = [_word(drawing.domain, timeline.is_bare(drawing.lanes), places)]
        words += [_word(lane, beside) for lane, beside in zip(drawing.lanes, values, strict=True)]
        sent = self._sent("each_lane")
        self.each_lane = _line(words)
        if sent[:1] != words[:1] or len(sent) != len(words):
            return None
        pairs = zip(words[1:], sent[1:], strict=True)
        return [row for row, (word, before) in enumerate(pairs) if word != before]

    def changed_rows(
        self, metric: str, nodes: TreeNodes, rows: Sequence[NodeRow]
    ) -> RowChanges | None:
        """Return what to do to the rows in the browser; None if all have to be sent."""
        frame = _word(metric, nodes.older is None, nodes.newer == 0)
        words = [row.node.id[:_PREFIX] + _row_word(row) for row in rows]
        sent = self._sent("each_row")
        self.each_row = _line([frame, *words])
        ids, sent_ids = ([word[:_PREFIX] for word in line] for line in (words, sent[1:]))
        if sent[:1] != [frame] or not sent_ids or sent_ids[0] not in ids:
            return None
        # New rows stand above those that the browser has, and may push some to the next page.
        first = ids.index(sent_ids[0])
        if ids[first:] != sent_ids[: len(ids) - first]:
            return None
        pairs = zip(rows[first:], words[first:], sent[1:], strict=False)
        changed = [row for row, word, before in pairs if word != before]
        return RowChanges(rows[:first][::-1], changed, sent_ids[len(ids) - first :])

    def _sent(self, name: str) -> list[str]:
        """Return the digests that the browser has; none if it asks for the whole page."""
        words = request.args.get(name, "").split(".") if self.live_only else []
        return words if all(_IS_WORD.fullmatch(word) for word in words) else []


def _row_word(row: NodeRow) -> str:
    node, branch = row.node, row.branch
    read_back = (node.effective, node.compared)
    return _word(branch.name, row.origin, row.value, row.delta, row.gutter, read_back)


def _line(words: Sequence[str]) -> str:
    return ".".join(words) if len(words) <= _WORDS else ""


def _word(*facts: Any) -> str:
    return f"{zlib.crc32(repr(facts).encode()):08x}"
