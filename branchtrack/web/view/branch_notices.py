"""Which branches the head of a tree's page speaks of: those that train, and those that do not.

Of many it has the newest, because what each of them says takes several lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from branchtrack.web.view.tree import BranchView

#: Training branches with controls, and others with the reason why they do not train.
LIVE, REASONS = 8, 5
#: Branches that wait before they are said together, and names in a sentence.
TOGETHER, NAMES = 3, 5
_UNTRAINED = ("waiting", "failed", "lost", "suspended")


@dataclass(frozen=True)
class BranchNotices:
    """Branches in order of creation; the ``other`` lists hold those of which only names are told.

    ``waiting`` are several that wait for a worker, said in one sentence; ``stopped`` do not train,
    each for a reason of its own.
    """

    live: Sequence[BranchView]
    other_live: Sequence[BranchView]
    waiting: Sequence[BranchView]
    stopped: Sequence[BranchView]
    other_stopped: Sequence[BranchView]

    @classmethod
    def of(cls, branches: Sequence[BranchView]) -> BranchNotices:
        """Return what there is to say of branches."""
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
    return view.status == "waiting" and (launch is None or launch.state == "queued")
