"""Which branches the head of a tree's page lists: those that train, and those that do not.

Of many it lists the newest, because each takes several lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from branchtrack.web.view.tree import BranchView

#: Training branches with controls, and others with the reason why they do not train.
LIVE, REASONS = 8, 5
#: The most waiting branches that are listed one by one, and the most names in a sentence.
TOGETHER, NAMES = 3, 5
_UNTRAINED = ("waiting", "failed", "lost", "suspended")


@dataclass(frozen=True)
class BranchNotices:
    """Branches in order of creation; of those in the ``other`` lists only the names are shown.

    ``waiting`` are several that wait for a worker, summed up in one sentence; ``stopped`` do not
    train, each for a reason of its own.
    """

    live: Sequence[BranchView]
    other_live: Sequence[BranchView]
    waiting: Sequence[BranchView]
    stopped: Sequence[BranchView]
    other_stopped: Sequence[BranchView]

    @classmethod
    def of(cls, branches: Sequence[BranchView]) -> BranchNotices:
        """Return the notices of a run's branches."""
        live = [view for view in branches if view.is_live]
        # A trial trains again what failed, and says itself what it waits for.
        stopped = [view for view in branches if _is_untrained(view) and not view.is_tried]
        waiting = [view for view in stopped if _is_queued(view)]
        if len(waiting) > TOGETHER:
            stopped = [view for view in stopped if not _is_queued(view)]
        else:
            waiting = []
        return cls(live[-LIVE:], live[:-LIVE], waiting, stopped[-REASONS:], stopped[:-REASONS])


def _is_untrained(view: BranchView) -> bool:
    launch = view.launch
    return view.status in _UNTRAINED or (launch is not None and launch.state == "failed")


def _is_queued(view: BranchView) -> bool:
    launch = view.launch
    if launch is not None and launch.launcher is not None:
        # Its cluster has a reason of its own for each.
        return False
    return view.status == "waiting" and (launch is None or launch.state == "queued")
