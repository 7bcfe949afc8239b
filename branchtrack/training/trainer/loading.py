"""The state of a node in place of the files from which a Trainer resumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer

from branchtrack.training.session.base import Base
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.trainer import resumption, state
from branchtrack.training.trainer.callbacks import Events
from branchtrack.training.trainer.data import TrainerPosition

if TYPE_CHECKING:
    # Where it is mixed in, its `super()` is a Trainer.
    _Mixed = Trainer
else:
    _Mixed = object


class NodeLoading(_Mixed):
    """The part of `mixin.BranchTrackMixin` that a Trainer calls to load a checkpoint of its own.

    ``_bt_base`` is the node that is resumed: nothing is loaded from files then.
    """

    model: torch.nn.Module
    _bt_session: TrainingSession | None = None
    _bt_position: TrainerPosition | None = None
    _bt_events: Events

    @property
    def _bt_base(self) -> Base | None:
        return None if self._bt_session is None else self._bt_session.base

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        # The whole state of a node is loaded at once, below, when there is an optimizer for it.
        if self._bt_base is None:
            super()._load_from_checkpoint(*args, **kwargs)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        base = self._bt_base
        if base is None:
            super()._load_optimizer_and_scheduler(checkpoint)
        else:
            resumption.restore(self._bt_events.trainer, base)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        base = self._bt_base
        if base is None:
            super()._load_rng_state(checkpoint)
            if self._bt_position is not None:
                # What has been fetched for the first update has not been trained on.
                with self._bt_position.before_fetching():
                    self._bt_events.commit_root()
        elif base.mode == "exact" and not (self._bt_position and self._bt_position.began_within):
            # Within an epoch its first batches were fetched first, and restored them then.
            resumption.restore_rng(base)

    def _load_scaler(self, checkpoint: str | None) -> None:
        base = self._bt_base
        if base is None:
            super()._load_scaler(checkpoint)
        else:
            state.restore_scaler(self, base.snapshot, base.mode)

    def _load_best_model(self) -> None:
        # The final node holds the final state of the training, not an earlier best model.
        self._bt_events.commit_final()
        super()._load_best_model()
