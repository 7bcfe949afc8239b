"""What a live page has already, so that only what has changed is made and sent again.

The page's own address of its live part says what it shows; nothing is remembered here.
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

#: A branch that trains moves by so much of the axis before its lanes are drawn again.
_STEPS_OF_AXIS = 200
#: More than so many lanes or rows are not told apart: an address has to stay short.
_WORDS = 250
#: Characters of an id that tell one row of a page from another.
_PREFIX = 6
_IS_WORD = re.compile(r"[0-9a-f]{8,14}")


@dataclass(frozen=True)
class RowChanges:
    """Rows to put on top, oldest first; rows to be replaced; how the ids begin that go."""

    added: Sequence[NodeRow]
    changed: Sequence[NodeRow]
    gone: Sequence[str]


@dataclass
class Sent:
    """What of a page the browser has; all of it is wanted where ``live_only`` is false.

    ``lanes`` and ``nodes`` are words for what these parts show now, ``each_lane`` and ``each_row``
    for what is in them: they tell which few of many have changed.
    """

    live_only: bool
    is_drawn: bool = False
    lanes: str = ""
    nodes: str = ""
    each_lane: str = ""
    each_row: str = ""

    @property
    def has_lanes(self) -> bool:
        """Whether the browser shows the timeline, the facts and the values as they are."""
        return self.live_only and self.lanes == request.args.get("lanes")

    @property
    def has_nodes(self) -> bool:
        """Whether the browser shows the rows of nodes as they are."""
        return self.live_only and self.nodes == request.args.get("nodes")

    def drawn(self, total: int, requested: str | None) -> str | None:
        """The metric that the browser draws, if it still is the one to show of ``total``."""
        count, _, metric = request.args.get("drawn", "").partition(".")
        is_same = self.live_only and count == str(total) and requested in (None, metric)
        return metric if is_same and metric else None

    def check_lanes(
        self, cursor: int, metric: str, domain: Domain, branches: Sequence[BranchView]
    ) -> None:
        """Take note of what the lanes show; a little progress alone is drawn by the script."""
        span = max(1, domain.high - domain.low)
        states = [
            (view.name, view.status, view.step * _STEPS_OF_AXIS // span if view.is_live else 0)
            for view in branches
        ]
        self.lanes = _word(cursor, metric, domain, states)

    def check_nodes(self, metric: str, nodes: TreeNodes) -> None:
        """Take note of what the rows show; a value may be read back without any event."""
        read_back = [(node.id, node.effective, node.compared) for node in nodes.page]
        self.nodes = _word(metric, nodes.older, nodes.newer, read_back)

    def take_over(self) -> None:
        """Say the same as before of what has not changed and is not looked at again."""
        self.each_lane = ".".join(self._sent("each_lane")) if self.has_lanes else ""
        self.each_row = ".".join(self._sent("each_row")) if self.has_nodes else ""

    def changed_lanes(self, drawing: Drawing, values: Sequence[Any]) -> list[int] | None:
        """Which lanes the browser shows otherwise than they are now; None where all are to be sent.

        ``values`` has what stands beside each lane.
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
        """What to do to the rows that the browser shows; None where all are to be sent."""
        frame = _word(metric, nodes.older is None, nodes.newer == 0)
        words = [row.node.id[:_PREFIX] + _row_word(row) for row in rows]
        sent = self._sent("each_row")
        self.each_row = _line([frame, *words])
        ids, sent_ids = ([word[:_PREFIX] for word in line] for line in (words, sent[1:]))
        if sent[:1] != [frame] or not sent_ids or sent_ids[0] not in ids:
            return None
        # New rows stand above those that the browser has, and some of these may have moved on.
        first = ids.index(sent_ids[0])
        if ids[first:] != sent_ids[: len(ids) - first]:
            return None
        pairs = zip(rows[first:], words[first:], sent[1:], strict=False)
        changed = [row for row, word, before in pairs if word != before]
        return RowChanges(rows[:first][::-1], changed, sent_ids[len(ids) - first :])

    def _sent(self, name: str) -> list[str]:
        """The words that the browser has; none where the whole page is wanted."""
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
