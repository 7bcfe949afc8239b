"""A training that a process should not repeat: the script continues as if it had been trained.

The state in which it ended in its run is restored, with the random generators, so that what follows
sees what it saw then. Nothing is recorded of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from branchtrack.checkpoints.packs import Store
from branchtrack.core.records import Segment
from branchtrack.db.engine import Database
from branchtrack.errors import BranchtrackError, LaunchFailed
from branchtrack.training.record.committer import Point
from branchtrack.training.session.base import Base, UnrecordedSession

logger = logging.getLogger("branchtrack")

#: Called with how a passed-over training ended.
Ended = Callable[[str, str | None], None]
#: Makes, from the reason, the refusal of a training that cannot be passed over.
Refuse = Callable[[str], LaunchFailed]


class PassedOver(UnrecordedSession):
    """The session of a training that is passed over: its loop is to end at once.

    ``base`` has its final node, None if it is left untrained, and ``segment`` the one that it was
    trained in. ``restore`` restores that state once more: a loop that steps before it checks
    whether to end has changed it. ``about`` names the training in messages.
    """

    passes_over = stop_asked = is_called = True
    is_begun = False

    def __init__(
        self,
        database: Database,
        store: Store,
        base: Base | None,
        about: str,
        segment: Segment | None = None,
        refuse: Refuse | None = None,
        ended: Ended | None = None,
    ) -> None:
        super().__init__(database, store, base)
        self.database = database
        self.about, self.trained_in = about, segment
        self.refuse: Refuse = refuse or partial(finished, about)
        self.restore: Callable[[], Any] | None = None
        self._ended, self._over = ended, False

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Do nothing: no segment begins."""

    def advance(self, step: int) -> None:
        """Do nothing: no update is made."""

    def is_due(self, *, save: bool, epoch_over: bool) -> bool:
        """Return true: the loop should end."""
        return True

    def control_point(
        self, point: Point, *, save: bool, final: bool, epoch_over: bool = False
    ) -> None:
        """Undo what the loop has done since."""
        if self.restore is not None:
            self.restore()

    def give_back(self, give: Callable[[], Any]) -> Any:
        """Call ``give``, which restores the state.

        Raises:
            LaunchFailed: the state does not fit the objects of the script.
        """
        try:
            return give()
        except LaunchFailed:
            raise
        except BranchtrackError as error:
            raise self.refuse(error.what) from error

    def ignored(self) -> None:
        """Log that the loop continues although it should end."""
        logger.warning(
            "branchtrack: the training %s is passed over, but its loop continues: it does not end "
            "where `run.step()` is true. Its changes are undone.",
            self.about,
        )

    def close(self, status: str, error: str | None = None) -> None:
        """Leave the restored state in place."""
        if self._over:
            return
        self._over = True
        if status != "failed" and self.restore is not None:
            self.restore()
        self.restore = None
        self.release_snapshot()
        if self._ended is not None:
            self._ended(status, error)
        self._database.close()


def before_another(about: str, node: str, why: str) -> LaunchFailed:
    """Return the refusal of a launch whose script first trains what cannot be passed over."""
    return _refusal(
        f"The script trains {about} before the training that was to be resumed, and that cannot "
        f"be passed over: {why}",
        "Write a script with only the training that was to be resumed, under the same "
        f"name, and use it: `branchtrack resume {node} --script PATH`.",
    )


def finished(about: str, why: str) -> LaunchFailed:
    """Return the refusal of a finished training whose final state does not fit the script."""
    return _refusal(
        f"{about} is finished, and the script cannot continue with its final state: {why}",
        "Make the script fit it, or begin a new run: without BRANCHTRACK_CONTINUE, resume= or "
        "resume_from_checkpoint=.",
    )


def _refusal(what: str, fix: str) -> LaunchFailed:
    return LaunchFailed(
        what,
        safe="Nothing was trained, and the record has no trace of it.",
        fix=fix,
        launch=None,
        exit_code=None,
        log=None,
    )
