"""A training that a process is not to make: the script goes on as if it had been made.

It is given back the state in which it had ended when its run was made, with the random generators,
so that what follows sees what it saw then. Nothing is recorded of it.
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
from branchtrack.training.session.session import Base, Session

logger = logging.getLogger("branchtrack")

#: Told how a training has ended that was to be passed over.
Ended = Callable[[str, str | None], None]
#: Makes the refusal of one that cannot be, of the reason.
Refuse = Callable[[str], LaunchFailed]


class PassedOver(Session):
    """The session of a training that is passed over; see `Session` for what a loop calls.

    ``base`` has its final node, None where it is left untrained, and ``segment`` the one that it
    was trained in. ``again`` gives that state back once more: a loop that steps before it asks
    whether to end has changed it. ``about`` names the training, for what people are told.
    """

    passes_over = True

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
        self.database, self.store = database, store
        self.about, self.trained_in = about, segment
        self.refuse: Refuse = refuse or partial(finished, about)
        self.again: Callable[[], Any] | None = None
        self.stop_asked = True
        self._ended, self._over = ended, False

    def begin(
        self, point: Point, max_steps: int | None, script: Mapping[str, Any] | None = None
    ) -> None:
        """Nothing begins."""

    def commit_root(self, point: Point, about: str) -> None:
        """There is no node of it."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """What is logged was logged when it was trained."""

    def control_point(
        self, point: Point, *, save: bool, final: bool, epoch_over: bool = False
    ) -> None:
        """Undo what the loop has done since."""
        if self.again is not None:
            self.again()

    def give_back(self, give: Callable[[], Any]) -> Any:
        """Call ``give``, which restores the state.

        Raises:
            LaunchFailed: it does not fit what the script has made.
        """
        try:
            return give()
        except LaunchFailed:
            raise
        except BranchtrackError as error:
            raise self.refuse(error.what) from error

    def ignored(self) -> None:
        """The loop goes on although it is to end: say so."""
        logger.warning(
            "branchtrack: the training %s is passed over, and its loop goes on: it does not end "
            "where `run.step()` is true. What it does is undone.",
            self.about,
        )

    def close(self, status: str, error: str | None = None) -> None:
        """Leave the state as it was given back."""
        if self._over:
            return
        self._over = True
        if status != "failed" and self.again is not None:
            self.again()
        self.again = None
        if self.base is not None:
            self.base.snapshot.tensors.clear()
        if self._ended is not None:
            self._ended(status, error)
        self._database.close()


def before_another(about: str, node: str, why: str) -> LaunchFailed:
    """The refusal of a launch whose script first makes a training that cannot be passed over."""
    return _refusal(
        f"The script trains {about} before the training that was to be resumed, and that cannot "
        f"be passed over: {why}",
        "Write a script that makes the training that was to be resumed alone, under the same "
        f"name, and give it: `branchtrack resume {node} --script PATH`.",
    )


def finished(about: str, why: str) -> LaunchFailed:
    """The refusal of a finished training whose final state cannot be given to the script."""
    return _refusal(
        f"{about} is finished, and the script cannot go on with its final state: {why}",
        "Make the script fit it, or begin a new run: without BRANCHTRACK_CONTINUE, resume= or "
        "resume_from_checkpoint=.",
    )


def _refusal(what: str, fix: str) -> LaunchFailed:
    return LaunchFailed(
        what,
        safe="Nothing was trained, and nothing is left of it in the record.",
        fix=fix,
        launch=None,
        exit_code=None,
        log=None,
    )
