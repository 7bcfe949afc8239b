"""Trials and reviews, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from branchtrack.client.calls import Calls, Values, path_of
from branchtrack.client.connection import mapping
from branchtrack.schemas.trials import (
    Promoted,
    RemovedBranches,
    Review,
    Trial,
    TrialHead,
    TrialPage,
    TrialPreview,
)


class Trials(Calls):
    """Methods that find out whether a change helps."""

    def try_change(self, node: str, settings: Values | None = None, **fields: Any) -> Trial:
        """Order a trial from a node; ``fields`` as in `trials.TrialBody`."""
        body = {**fields, "settings": mapping("settings", settings)}
        return self._send("POST", path_of("/nodes/{node}/trials", node=node), Trial, body)

    def preview_trial(
        self, node: str, settings: Values | None = None, **fields: Any
    ) -> TrialPreview:
        """Return what `try_change` would train."""
        body = {**fields, "settings": mapping("settings", settings), "dry_run": True}
        return self._send("POST", path_of("/nodes/{node}/trials", node=node), TrialPreview, body)

    def trial(self, trial_id: str) -> Trial:
        """Return a trial with its pairs and what they show so far."""
        return self._get(path_of("/trials/{trial_id}", trial_id=trial_id), Trial)

    def trials(self, run: str) -> Iterator[TrialHead]:
        """Yield the trials of a run without their pairs, newest first."""
        yield from self._pages(path_of("/runs/{run}/trials", run=run), TrialPage, "before")

    def cancel_trial(self, trial_id: str, reason: str = "") -> Trial:
        """End a trial; a change that was not judged by then is inconclusive."""
        path = path_of("/trials/{trial_id}/cancel", trial_id=trial_id)
        return self._send("POST", path, Trial, {"reason": reason})

    def remove_trial(self, trial_id: str, reason: str = "") -> RemovedBranches:
        """Move all branches of a trial to the trash; its verdict stays."""
        path = path_of("/trials/{trial_id}/remove", trial_id=trial_id)
        return self._send("POST", path, RemovedBranches, {"reason": reason})

    def promote(
        self, trial_id: str, name: str, branch: str | None = None, reason: str = ""
    ) -> Promoted:
        """Give a trial's best branch, or the one named, a name of its own."""
        path = path_of("/trials/{trial_id}/promote", trial_id=trial_id)
        body = {"name": name, "branch": branch, "reason": reason}
        return self._send("POST", path, Promoted, body)

    def review(self, run: str) -> Review:
        """Return the changes of a run with the verdicts that there are."""
        return self._get(path_of("/runs/{run}/review", run=run), Review)

    def order_review(self, run: str, **fields: Any) -> Review:
        """Order trials of all changes of a run; ``fields`` as in `trials.ReviewBody`."""
        return self._send("POST", path_of("/runs/{run}/review", run=run), Review, fields)
