"""What a live page has already, so that only what has changed is made and sent again.

The page's own address of its live part says what it shows; nothing is remembered here.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import request

from branchtrack.db.tree_nodes import TreeNodes
from branchtrack.web.svg.timeline import Domain
from branchtrack.web.views import BranchView

#: A branch that trains moves by so much of the axis before its lanes are drawn again.
_STEPS_OF_AXIS = 200


@dataclass
class Sent:
    """What of a page the browser has; all of it is wanted where ``live_only`` is false.

    ``lanes`` and ``nodes`` are words for what these parts show now.
    """

    live_only: bool
    is_drawn: bool = False
    lanes: str = ""
    nodes: str = ""

    @property
    def has_lanes(self) -> bool:
        """Whether the browser shows the timeline, the facts and the values as they are."""
        return self.live_only and self.lanes == request.args.get("lanes")

    @property
    def has_nodes(self) -> bool:
        """Whether the browser shows the rows of nodes as they are."""
        return self.live_only and self.nodes == request.args.get("nodes")

    def drawn(self, total: int, asked: str | None) -> str | None:
        """The metric that the browser draws, if it still is the one to show of ``total``."""
        count, _, metric = request.args.get("drawn", "").partition(".")
        is_same = self.live_only and count == str(total) and asked in (None, metric)
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
        read_back = [
            (node.id, (node.effective or {}).get("step"), (node.compared or {}).get("state"))
            for node in nodes.page
        ]
        self.nodes = _word(metric, nodes.older, nodes.newer, read_back)


def _word(*facts: Any) -> str:
    return f"{zlib.crc32(repr(facts).encode()):08x}"
