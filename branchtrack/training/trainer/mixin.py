"""The Hugging Face Trainer mixin: the same Trainer, whose checkpoints and changes become nodes.

Its place in the loop of transformers 5:

    get_train_dataloader                   <- have the batches tracked
    on_train_begin                         <- take the segment
    for each epoch:
        on_epoch_begin                     <- the first time: commit the root of a new run
        for each update:
            get_batch_samples              <- count them; bring random states back, once
            on_step_begin, forward, backward, (clip)
            on_pre_optimizer_step          <- read back what this update uses, if that is due
            optimizer.step()
            on_optimizer_step              <- read back again
            scheduler.step()
            on_step_end                    <- one flag test; asks for a save if requests wait
            log, evaluate                  <- keep evaluation from disturbing random generators
            _save_checkpoint               <- CONTROL POINT: apply, capture, commit
        on_epoch_end                       <- asks for a save that the epoch's end has put off
        log, evaluate
        _save_checkpoint                   <- CONTROL POINT
    _load_best_model, on_train_end         <- CONTROL POINT, where there was none at this step

The last update of an epoch has its control point after the end of the epoch, which may log and
evaluate: a training that is resumed there begins with the next epoch, and would do neither.

No loop is copied: callbacks, public methods, and overrides of `_save_checkpoint`, `_load_*` and
`_init_training_state`, each of which falls back to ``super()`` where branchtrack has no part.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from transformers import Trainer
from transformers.trainer_utils import TrainOutput

from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.attributes.changes import Attributes
from branchtrack.training.record import shards
from branchtrack.training.session.base import Base
from branchtrack.training.session.opening import resumption
from branchtrack.training.trainer import (
    bounds,
    coverage,
    opening,
    schedule,
    schedule_recipe,
    script_objects,
    state,
)
from branchtrack.training.trainer import history as trainer_history
from branchtrack.training.trainer import resumption as trainer_resumption
from branchtrack.training.trainer.callbacks import Ends, Events
from branchtrack.training.trainer.data import Bounds, TrainerPosition
from branchtrack.training.trainer.declarations import Declarations
from branchtrack.training.trainer.loading import NodeLoading
from branchtrack.training.trainer.settings import TrainerSettings, check_names

#: What a branching Trainer has in addition to a Trainer's own methods.
_GIVEN = ("declare", "track", "add_action", "alert")


@cache
def make_branching(trainer_class: type[Trainer]) -> type[Any]:
    """Return a subclass of a Trainer class, used exactly like it, whose runs are trees.

    Raises:
        InvalidInput: not a subclass of transformers' Trainer.
    """
    if not (isinstance(trainer_class, type) and issubclass(trainer_class, Trainer)):
        raise InvalidInput("trainer_class", trainer_class, "transformers.Trainer or a subclass")
    if issubclass(trainer_class, BranchTrackMixin):
        return trainer_class
    # If a class has a method by one of these names, it keeps its own.
    attributes = {
        name: getattr(trainer_class, name) for name in _GIVEN if hasattr(trainer_class, name)
    }
    return type(f"Branching{trainer_class.__name__}", (BranchTrackMixin, trainer_class), attributes)


class BranchTrackMixin(Declarations, NodeLoading):
    """Mixed in before a Trainer class by `make_branching`.

    Its own attributes begin with ``_bt_``, so that none of the class's is touched: ``position`` is
    the training's position in its data, ``script`` what the script requests, ``gives_optimizer``
    whether it created the optimizer itself, ``schedule`` the recipe of a schedule made for another
    length (see `schedule_recipe`), ``made`` the scheduler that the Trainer created and from what,
    and ``bounds`` how far the script would train, if the loop can go elsewhere.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bt_script: dict[str, Any] = {}
        self._bt_schedule: dict[str, Any] | None = None
        self._bt_made: schedule_recipe.Made | None = None
        self._bt_bounds: Bounds | None = None
        self._bt_begin_declarations()
        self._bt_loop_settings = TrainerSettings(self)
        self._bt_attributes: Attributes | None = None
        self._bt_registry: list[Any] = []
        self._bt_first_step = 0
        self._bt_output_folder = trainer_resumption.output_folder(self.args)
        self._bt_branch_folder: str | None = None
        self._bt_has_ended = False
        self._bt_base_to_finish: Base | None = None
        self._bt_gives_optimizer = self.optimizer is not None
        self._bt_events = Events(self)
        self.add_callback(self._bt_events)
        self.add_callback(Ends(self))

    def train(
        self,
        resume_from_checkpoint: Any = None,
        *args: Any,
        resume_from_node: str | None = None,
        set: Mapping[str, Any] | None = None,
        mode: str = "exact",
        branch: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Train as `Trainer.train`, recorded as a run or, in a launched process, as its branch.

        ``resume_from_node``, ``set``, ``mode`` and ``branch`` are as ``resume`` and the others of
        `branchtrack.start`. ``resume_from_checkpoint=True``, or the newest checkpoint in the output
        folder, continues as ``resume="latest"`` does if the record has something to continue,
        otherwise from the checkpoint, and starts anew if there is neither. A signal (see
        `session.signals`) creates a node and stops training.

        Raises:
            KeyboardInterrupt, SystemExit: after a signal that the script has no handler for.
        """
        session, resume_from_checkpoint = opening.open_session(
            self,
            resume_from_checkpoint,
            resumption(resume_from_node, set, mode, branch, "resume_from_node"),
        )
        if session.passes_over:
            return opening.pass_over(self, session)
        opening.begin(self, session)
        try:
            with tempfile.TemporaryDirectory(prefix="branchtrack-") as folder:
                self._bt_events.resumes = bool(resume_from_checkpoint)
                trainer_resumption.own_folder(self, session.own_branch())
                if session.base is not None:
                    history = session.read(trainer_history.log_history, session.base.origin)
                    trainer_resumption.prepare(self, session.base, folder, history)
                    self._bt_has_ended = trainer_resumption.has_ended(session.base)
                    resume_from_checkpoint = folder
                output = super().train(resume_from_checkpoint, *args, **kwargs)
            if isinstance(output, TrainOutput):
                output = output._replace(training_loss=trainer_history.mean_loss(self))
        except KeyboardInterrupt:
            session.close("stopped", "Interrupted from the keyboard.")
            raise
        except BaseException as error:
            session.close("failed", f"{type(error).__name__}: {error}")
            raise
        finally:
            self._bt_session = None
        session.close("stopped" if session.stop_asked else "finished")
        session.signals.deliver()
        return output

    def get_train_dataloader(self) -> Any:
        """Do as `Trainer.get_train_dataloader`, tracking the batches of the one trained from.

        That is the first since training began, or since its batches were made smaller to fit.
        """
        loader = super().get_train_dataloader()
        size: int = self._train_batch_size
        if self._bt_session is None or (
            self._bt_position is not None and self._bt_position.made_for == size
        ):
            return loader
        args = self.args
        seed = args.seed if args.data_seed is None else args.data_seed
        self._bt_position = TrainerPosition(loader, seed, size)
        if self._bt_position.settings is not None:
            look_up = partial(self._bt_session.read, shards.look_up)
            self._bt_position.settings.shards.connect(look_up)
        if self._bt_session.base is not None:
            trainer_resumption.resume_position(self, self._bt_session.base)
        return loader

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        """Do as the Trainer's own; a resumed one ends where its node says."""
        counts = super().set_initial_training_values(args, dataloader)
        base = self._bt_base
        if base is not None:
            counts = bounds.resumed_counts(self, base, counts, dataloader)
        return bounds.open_counts(self, counts, dataloader)

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[int, int]:
        if self._bt_bounds is not None:
            num_update_steps_per_epoch = self._bt_bounds.per_epoch
            num_train_epochs = self._bt_bounds.epochs
        progress: tuple[int, int] = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, *args, **kwargs
        )
        base, position, session = self._bt_base, self._bt_position, self._bt_session
        if session is not None and not session.records:
            session.uncovered = coverage.of_trainer(self)
        elif session is not None and base is not None and base.mode == "exact":
            session.read(trainer_history.bring_best_model, self, session.store, base.origin)
        if position is None:
            return progress
        if base is None or not trainer_resumption.knows_position(base):
            position.epoch, position.batches = progress
        return position.epoch, position.batches

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Do as `Trainer.create_scheduler`, for as many updates as its node says."""
        scheduler = self._bt_make_scheduler(num_training_steps, optimizer)
        # By now the script's own optimizer and scheduler exist, with nothing restored to them.
        self._bt_script |= script_objects.of_optimizer(self)
        schedule.note(self)
        check_names(state.live_objects(self))
        return scheduler

    def _bt_make_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Create a scheduler if there is none, along the current recipe."""
        recipe = self._bt_schedule
        steps = num_training_steps if recipe is None else recipe["steps"]
        rate = None if recipe is None else recipe.get("lr")
        with schedule_recipe.made_for(optimizer or self.optimizer, rate):
            scheduler = super().create_scheduler(steps, optimizer)
        if recipe is not None and self._created_lr_scheduler:
            schedule_recipe.follow(scheduler, recipe)
        return scheduler

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Do as the Trainer's own, and count."""
        position = self._bt_position
        trainer_resumption.restore_attributes(self)
        if self._bt_session is None or position is None:
            return super().get_batch_samples(epoch_iterator, num_batches, device)
        if self._bt_has_ended:
            self.control.should_training_stop = self.control.should_epoch_stop = True
            return [], None
        self._bt_loop_settings.begin_update()
        accumulation: int = self.args.gradient_accumulation_steps
        if self._bt_bounds is not None:
            # No more than there are: requesting another may draw for the next pass.
            num_batches = min(accumulation, position.left() + position.batches % accumulation)
        batch_count = position.wanted(num_batches, accumulation)
        if batch_count <= 0:
            self.control.should_epoch_stop = True
            return [], None
        batches = position.reading(epoch_iterator)
        samples = super().get_batch_samples(batches, batch_count, device)
        if self._bt_bounds is not None and not samples[0]:
            self.control.should_epoch_stop = True
        position.fetched(len(samples[0]))
        if self._bt_session.witness is not None:
            self._bt_session.witness.take(samples[0])
        return samples

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Do as `Trainer.evaluate`; during training, random generators are not affected."""
        if self._bt_session is None:
            return super().evaluate(*args, **kwargs)
        signals = self._bt_session.signals
        signals.is_evaluating = True
        try:
            with rng.preserved():
                return super().evaluate(*args, **kwargs)
        except (KeyboardInterrupt, SystemExit):
            if signals.has_cut_short:
                # Training is as it was before: this is its control point.
                self._bt_events.commit_here()
            raise
        finally:
            signals.is_evaluating = False

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Do as `Trainer.log`; the mean loss at the end is that of the whole training."""
        if self._bt_session is not None and {"train_loss", "train_runtime"} <= logs.keys():
            logs["train_loss"] = trainer_history.mean_loss(self)
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any, *args: Any, **kwargs: Any) -> None:
        session, events = self._bt_session, self._bt_events
        if session is None or not session.is_begun:
            super()._save_checkpoint(model, trial, *args, **kwargs)
            return
        if not events.puts_off() and events.control_point():
            super()._save_checkpoint(model, trial, *args, **kwargs)
