"""What a Trainer of Lightning and its callbacks count and keep while a plain loop is in its hooks.

It is read and written where Lightning keeps it; nothing of Lightning is imported. It knows no run,
no session and no node.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger("branchtrack")

#: Callbacks of Lightning's own that training depends on.
_STATEFUL = {
    "WeightAveraging",
    "StochasticWeightAveraging",
    "EarlyStopping",
    "BaseFinetuning",
    "ModelPruning",
    "SpikeDetection",
}
#: Those that only observe, with what scripts derive from them.
_LOOKING_ON = {
    "ProgressBar",
    "Checkpoint",
    "ModelSummary",
    "LearningRateMonitor",
    "DeviceStatsMonitor",
    "ThroughputMonitor",
    "Timer",
    "BasePredictionWriter",
}
_LIBRARIES = ("lightning", "pytorch_lightning", "branchtrack")
#: Hooks after the last batch of an epoch in which a callback may change its state.
_EPOCH_ENDS = ("on_train_epoch_end", "on_validation_epoch_end", "on_validation_end")
_COUNTERS = ("ready", "started", "processed", "completed")


class LightningProgress:
    """The counters of a Trainer: updates, epochs, and the batches of the epoch.

    For the last batch in an epoch they are those at the beginning of the next epoch. ``skipped`` is
    what Lightning does between the two, and what a resume thus does not do.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self.skipped: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the counters."""
        trainer = self._trainer
        loop, epoch = trainer.fit_loop.epoch_loop, trainer.fit_loop.epoch_progress.current.processed
        batches, is_over = loop.batch_progress.current.ready, loop._num_ready_batches_reached()
        current = loop.batch_progress.current
        # After the hooks of a batch Lightning counts it for its loggers.
        counts = current.processed > current.completed and not loop._should_accumulate()
        return {
            "updates": loop.automatic_optimization.optim_progress.optimizer.step.total.completed,
            "manual_updates": loop.manual_optimization.optim_step_progress.total.completed,
            "stepped": loop._batches_that_stepped + counts,
            "epoch": epoch + 1 if is_over else epoch,
            "batches": 0 if is_over else batches,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with these counters, after the first epoch began and before its first batch."""
        fit = self._trainer.fit_loop
        loop = fit.epoch_loop
        updates = loop.automatic_optimization.optim_progress.optimizer.step
        manual = loop.manual_optimization.optim_step_progress
        for progress, name in ((updates, "updates"), (manual, "manual_updates")):
            progress.total.ready = progress.total.completed = state[name]
        loop._batches_that_stepped = state["stepped"]
        for name in _COUNTERS:
            for counts in (loop.batch_progress.current, loop.batch_progress.total):
                _set(counts, name, state["batches"])
            begun = name in ("ready", "started")
            for counts in (fit.epoch_progress.current, fit.epoch_progress.total):
                _set(counts, name, state["epoch"] + begun)
        if fit._data_fetcher is not None:
            # Lightning recognises the last batch of an epoch by it.
            fit._data_fetcher.fetched = state["batches"]
        self._check_ends(state)
        if state["epoch"] and not state["batches"]:
            self.skipped = _ends_of_epochs(self._trainer)

    def _check_ends(self, state: Mapping[str, Any]) -> None:
        """Log if the Trainer would have ended by now."""
        trainer, updates = self._trainer, max(state["updates"], state["manual_updates"])
        bounds = {"max_steps": updates, "max_epochs": state["epoch"]}
        for name, count in bounds.items():
            bound = getattr(trainer, name)
            if bound not in (None, -1) and bound <= count:
                logger.warning(
                    "branchtrack: Lightning's Trainer(%s=%s) ends at once, since the node is at "
                    "%s already. Set a larger one to train on.",
                    name,
                    bound,
                    count,
                )


def followed(trainer: Any) -> dict[str, Any]:
    """Return the callbacks of a Trainer that have state of training, by path."""
    callbacks: dict[str, Any] = {}
    for callback in trainer.callbacks:
        kinds = type(callback).__mro__
        names = {kind.__name__ for kind in kinds if _is_of_library(kind)}
        if not names & _LOOKING_ON and (names & _STATEFUL or not _is_of_library(kinds[0])):
            path = base = f"callback.{kinds[0].__name__}"
            number = 2
            while path in callbacks:
                path, number = f"{base}#{number}", number + 1
            callbacks[path] = callback
    return callbacks


def late(trainer: Any) -> list[str]:
    """Return the callbacks with state that run after the one which began the run.

    A node that is created there has their state from before the update.
    """
    begins = _beginning(trainer.callbacks)
    if begins is None:
        return []
    later = {id(callback) for callback in trainer.callbacks[trainer.callbacks.index(begins) + 1 :]}
    paths = []
    for path, callback in followed(trainer).items():
        if id(callback) in later and _overrides(callback, "on_train_batch_end"):
            paths.append(path)
            if {kind.__name__ for kind in type(callback).__mro__} & _STATEFUL:
                logger.warning(
                    "branchtrack: %s comes after the callback that calls run.step(), so that "
                    "nodes have its state from before the update. Put it before that one in "
                    "Trainer(callbacks=[...]).",
                    type(callback).__name__,
                )
    return paths


def _beginning(callbacks: list[Any]) -> Any:
    """Return the callback that called this from one of its methods; None if there is none."""
    by_id = {id(callback): callback for callback in callbacks}
    frame = sys._getframe(1)
    while frame is not None:
        names = frame.f_code.co_varnames[:1]
        owner = by_id.get(id(frame.f_locals.get(names[0]))) if names else None
        if owner is not None and not _is_of_library(type(owner)):
            return owner
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None


def _ends_of_epochs(trainer: Any) -> list[str]:
    """Return what depends on the end of an epoch, which follows its last batch."""
    paths = [
        path
        for path, callback in followed(trainer).items()
        if any(_overrides(callback, name) for name in _EPOCH_ENDS)
    ]
    if any(config.reduce_on_plateau for config in trainer.lr_scheduler_configs):
        paths.append("scheduler")
    if _overrides(trainer.lightning_module, "on_train_epoch_end"):
        paths.append("model")
    return [f"{path} (at the end of the node's epoch)" for path in paths]


def _overrides(value: Any, name: str) -> bool:
    """Return whether a hook overrides that of Lightning's base class, which does nothing."""
    bases = ("Callback", "LightningModule", "ModelHooks")
    kinds = (kind for kind in type(value).__mro__ if name in vars(kind))
    kind = next(kinds, None)
    return kind is not None and not (_is_of_library(kind) and kind.__name__ in bases)


def _is_of_library(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _LIBRARIES


def _set(counts: Any, name: str, value: int) -> None:
    if hasattr(counts, name):
        setattr(counts, name, value)
