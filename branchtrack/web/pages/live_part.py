"""What a live page shows already, so that only changes are rendered and sent.

The address that the page uses for its live part says what it shows; the server stores nothing.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import request

from branchtrack.db.views.tree_nodes import LogRow, TreeNodes
from branchtrack.web.charts.timeline import Drawing
from branchtrack.web.charts.wall import Look
from branchtrack.web.svg import timeline
from branchtrack.web.svg.timeline import Domain
from branchtrack.web.view.node_rows import NodeRow
from branchtrack.web.view.tree import BranchView
from branchtrack.web.view.trials import Tried

#: The share of the axis that a training branch moves before its lanes are drawn again.
_STEPS_OF_AXIS = 200
#: With more lanes or rows all are sent, because the address has to stay short.
_WORDS = 250
#: Characters of an id that distinguish the rows of a page.
_PREFIX = 6
_IS_WORD = re.compile(r"[0-9a-f]{8,14}")


@dataclass(frozen=True)
class RowChanges:
    """What to do to the rows of a table, in this order.

    ``gone`` are prefixes of the ids of rows to remove; ``added`` are rows to insert, each with the
    id of the row above it (None at the top); ``changed`` are rows to replace.
    """

    gone: Sequence[str]
    added: Sequence[tuple[NodeRow, str | None]]
    changed: Sequence[NodeRow]


@dataclass
class Sent:
    """What the browser has of a page; everything is sent if ``live_only`` is false.

    ``charts``, ``lanes`` and ``nodes`` are digests of what these parts show now, ``each_lane`` and
    ``each_row`` of the items in them, which tell a few changed items from the others.
    """

    live_only: bool
    is_drawn: bool = False
    charts: str = ""
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

    def check_charts(self, names: Sequence[str], look: Look) -> None:
        """Record which charts are shown."""
        self.charts = _word(tuple(names), look)
        self.is_drawn = self.live_only and request.args.get("charts") == self.charts

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

    def check_nodes(self, metric: str, nodes: TreeNodes, tried: Tried) -> None:
        """Record what the rows show; a value may be read back without any event."""
        read_back = [
            (row.node.id, row.size, row.node.effective, row.node.compared, _tried(tried, row))
            for row in nodes.page
        ]
        self.nodes = _word(metric, nodes.older, nodes.newer, read_back)

    def take_over(self) -> None:
        """Repeat the earlier digests of what has not changed and is not read again."""
        self.each_lane = ".".join(self._sent("each_lane")) if self.has_lanes else ""
        self.each_row = ".".join(self._sent("each_row")) if self.has_nodes else ""

    def changed_lanes(
        self, drawing: Drawing, values: Sequence[Any], folded: Sequence[str] = ()
    ) -> list[int] | None:
        """Return the lanes that have changed in the browser; None if all have to be sent.

        ``values`` holds the values beside each lane, ``folded`` what stands for branches that have
        none.
        """
        places = [(lane.name, lane.style, lane.start, lane.parent) for lane in drawing.lanes]
        words = [_word(drawing.domain, timeline.is_bare(drawing.lanes), places, folded)]
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
        words = {row.first_id[:_PREFIX]: _row_word(row) for row in rows}
        sent = self._sent("each_row")
        self.each_row = _line([frame, *(key + word for key, word in words.items())])
        before = {word[:_PREFIX]: word[_PREFIX:] for word in sent[1:]}
        if sent[:1] != [frame] or not before or len(words) != len(rows):
            return None
        keys = list(words)
        staying = _in_order([key for key in keys if key in before], list(before))
        pairs = zip(rows, keys, [None, *(row.first_id for row in rows)], strict=False)
        return RowChanges(
            gone=[key for key in before if key not in staying],
            added=[(row, above) for row, key, above in pairs if key not in staying],
            changed=[
                row
                for row, key in zip(rows, keys, strict=True)
                if key in staying and words[key] != before[key]
            ],
        )

    def _sent(self, name: str) -> list[str]:
        """Return the digests that the browser has; none if it asks for the whole page."""
        words = request.args.get(name, "").split(".") if self.live_only else []
        return words if all(_IS_WORD.fullmatch(word) for word in words) else []


def _row_word(row: NodeRow) -> str:
    node, branch = row.node, row.branch
    verdict = "" if row.verdict is None else row.verdict.text
    facts = (node.id, node.effective, node.compared, row.size, row.forks, verdict)
    return _word(branch.name, row.origin, row.value, row.delta, row.gutter, facts)


def _tried(tried: Tried, row: LogRow) -> str:
    line = tried.by_node.get(row.node.id)
    return "" if line is None else line.text


def _in_order(keys: Sequence[str], before: Sequence[str]) -> set[str]:
    """Return as many of ``keys`` as stand in the same order in ``before``.

    This is a longest increasing subsequence, by patience sorting.
    """
    place = {key: nth for nth, key in enumerate(before)}
    piles: list[int] = []
    tops: list[str] = []
    below: dict[str, str | None] = {}
    for key in keys:
        pile = bisect_left(piles, place[key])
        below[key] = tops[pile - 1] if pile else None
        piles[pile : pile + 1] = [place[key]]
        tops[pile : pile + 1] = [key]
    kept: set[str] = set()
    last = tops[-1] if tops else None
    while last is not None:
        kept.add(last)
        last = below[last]
    return kept


def _line(words: Sequence[str]) -> str:
    return ".".join(words) if len(words) <= _WORDS else ""


def _word(*facts: Any) -> str:
    return f"{zlib.crc32(repr(facts).encode()):08x}"
