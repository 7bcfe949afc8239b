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

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from transformers import Trainer
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.trainer_utils import TrainOutput, has_length

from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.attributes.changes import Attributes
from branchtrack.training.attributes.values import has_state
from branchtrack.training.record.environment import refuse_distributed
from branchtrack.training.session.opening import resumption
from branchtrack.training.session.session import Base, Session
from branchtrack.training.settings.author import Values
from branchtrack.training.steer import author_actions
from branchtrack.training.trainer import (
    coverage,
    opening,
    schedule,
    schedule_recipe,
    script,
    script_objects,
    state,
)
from branchtrack.training.trainer import history as trainer_history
from branchtrack.training.trainer import resumption as trainer_resumption
from branchtrack.training.trainer.bounds import Bounds, Ends
from branchtrack.training.trainer.callbacks import Events
from branchtrack.training.trainer.data import Place
from branchtrack.training.trainer.settings import TrainerSettings, check_names

#: What a branching Trainer has in addition to a Trainer's own methods.
_GIVEN = ("declare", "track", "add_action")


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


class BranchTrackMixin:
    """Mixed in before a Trainer class by `make_branching`.

    Its own attributes begin with ``_bt_``, so that none of the class's is touched: ``place`` is
    the training's position in its data, ``script`` what the script requests, ``gives_optimizer``
    whether it created the optimizer itself, ``schedule`` the recipe of a schedule made for another
    length (see `schedule_recipe`), ``made`` the scheduler that the Trainer created and from what,
    ``bounds`` how far the script would train, if the loop can go elsewhere, and ``values`` what the
    script declared (see `declare`), which is ``settings`` as well, unless the class has that.
    """

    _bt_session: Session | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse_distributed(int(os.environ.get("WORLD_SIZE") or 1))
        super().__init__(*args, **kwargs)
        self._bt_place: Place | None = None
        self._bt_script: dict[str, Any] = {}
        self._bt_schedule: dict[str, Any] | None = None
        self._bt_actions: dict[str, Callable[..., Any]] = {}
        self._bt_made: schedule_recipe.Made | None = None
        self._bt_bounds: Bounds | None = None
        self._bt_values = Values({})
        if not hasattr(self, "settings"):
            self.settings = self._bt_values
        self._bt_loop_settings = TrainerSettings(self)
        self._bt_attributes: Attributes | None = None
        self._bt_registry: dict[str, Any] = {}
        self._bt_tracked: dict[str, Any] = {}
        self._bt_first_step = 0
        self._bt_output_folder: str = self.args.output_dir  # type: ignore[attr-defined]
        self._bt_branch_folder: str | None = None
        self._bt_has_ended = False
        self._bt_base_to_finish: Base | None = None
        self._bt_gives_optimizer = self.optimizer is not None  # type: ignore[attr-defined]
        self._bt_events = Events(self)
        self.add_callback(self._bt_events)  # type: ignore[attr-defined]
        self.add_callback(Ends(self))  # type: ignore[attr-defined]

    def declare(self, **values: Any) -> None:
        """Declare values of the script's own that can be changed during training.

        Each is plain or made by `branchtrack.setting`, and is read as ``self.settings[name]``, for
        instance in ``compute_loss``: a change that no update reads is reported as not in force.

        Raises:
            InvalidInput: a name or a value that cannot be used, or training has begun.
        """
        if self._bt_session is not None:
            raise InvalidInput("settings", list(values), "declare(...) before train()")
        if self.settings is not self._bt_values:
            raise InvalidInput(
                "settings",
                list(values),
                "a Trainer class that has no attribute `settings`",
                what="Declared values are read as `self.settings[name]`, and this class has an "
                "attribute of that name.",
            )
        for name, value in values.items():
            self._bt_values.add(name, value)

    def track(self, **objects: Any) -> None:
        """Store in each node the state of objects that are not part of the model or optimizer.

        Each is a tensor, a random generator, or has ``state_dict`` and ``load_state_dict``: an
        averaged teacher, class weights that change, another optimizer. Attributes of the Trainer
        and of its callbacks that change during training are found without it.

        Raises:
            InvalidInput: something else, or training has begun.
        """
        if self._bt_session is not None:
            raise InvalidInput("track", list(objects), "track(...) before train()")
        for name, value in objects.items():
            if not has_state(value):
                raise InvalidInput(
                    name,
                    value,
                    "a tensor, a random generator, or an object with state_dict and "
                    "load_state_dict",
                )
            self._bt_tracked[name] = value

    def add_action(self, name: str, function: Callable[..., Any]) -> None:
        """Accept requests to the run that call ``function``, before it trains.

        Its parameters are typed by their annotations; see `steer.author_actions`.

        Raises:
            InvalidInput: it is not a function with such parameters.
        """
        author_actions.describe(name, function)
        self._bt_actions[name] = function

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
        refuse_distributed(self.args.world_size)  # type: ignore[attr-defined]
        session, resume_from_checkpoint = opening.open_session(
            self,
            resume_from_checkpoint,
            resumption(resume_from_node, set, mode, branch, "resume_from_node"),
        )
        if session.passes_over:
            return opening.pass_over(self, session)
        self._bt_begin(session)
        try:
            with tempfile.TemporaryDirectory(prefix="branchtrack-") as folder:
                self._bt_events.resumes = bool(resume_from_checkpoint)
                trainer_resumption.own_folder(self, session.own_branch())
                if session.base is not None:
                    history = session.read(trainer_history.log_history, session.base.origin)
                    trainer_resumption.prepare(self, session.base, folder, history)
                    self._bt_has_ended = trainer_resumption.has_ended(session.base)
                    resume_from_checkpoint = folder
                output = super().train(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]
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

    def _bt_begin(self, session: Session) -> None:
        """Make this trainer train for a session, as if it had never trained before."""
        self._bt_session = session
        session.actions = self._bt_actions
        session.evaluates = self.eval_dataset is not None  # type: ignore[attr-defined]
        self._bt_script = script.describe_script(self)
        self._bt_place, self._bt_schedule = None, None
        self._bt_bounds, self._bt_first_step, self._bt_has_ended = None, 0, False
        if session.rehearses:
            _silence(self)
        else:
            session.signals.on()

    def get_train_dataloader(self) -> Any:
        """Do as `Trainer.get_train_dataloader`, tracking the batches of the one trained from.

        That is the first since training began, or since its batches were made smaller to fit.
        """
        loader = super().get_train_dataloader()  # type: ignore[misc]
        size: int = self._train_batch_size  # type: ignore[attr-defined]
        if self._bt_session is None or (
            self._bt_place is not None and self._bt_place.made_for == size
        ):
            return loader
        args = self.args  # type: ignore[attr-defined]
        seed = args.seed if args.data_seed is None else args.data_seed
        self._bt_place = Place(loader, seed, size)
        if self._bt_session.base is not None:
            trainer_resumption.find_place(self, self._bt_session.base)
        return loader

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        """Do as the Trainer's own; a resumed one ends where its node says."""
        counts = super().set_initial_training_values(args, dataloader)  # type: ignore[misc]
        base = _base(self)
        if base is None:
            return self._open(counts, dataloader)
        epochs, per_epoch, examples, samples, batch, in_epoch, natural = counts
        ends = trainer_resumption.last_step(base, natural)
        if base.mode == "weights":
            # A fresh schedule is created for what is trained from here on.
            self._bt_schedule = {"steps": ends - base.fork.step, "path": []}
        if not has_length(dataloader):
            per_epoch, in_epoch = ends, ends * args.gradient_accumulation_steps
        elif self._bt_place is not None:
            # Only a bound: the loop ends with its last step.
            epochs = max(epochs, self._bt_place.epoch + 1 + ends - base.fork.step)
        counts = epochs, per_epoch, examples, samples, batch, in_epoch, ends
        return self._open(counts, dataloader)

    def _open(self, values: Any, dataloader: Any) -> Any:
        """Return the values of a loop that ends by its last step, and its passes by last batches.

        Both may change while it runs; the loop reads its own bounds only once.
        """
        self._bt_bounds = None
        epochs, per_epoch, examples, samples, batch, in_epoch, ends = values
        is_empty = epochs < 1 or self._bt_session is None or self._bt_place is None
        if is_empty or not has_length(dataloader):
            return values
        accumulation: int = self.args.gradient_accumulation_steps  # type: ignore[attr-defined]
        self._bt_bounds = Bounds(epochs, per_epoch, ends, accumulation)
        return sys.maxsize, max(per_epoch, in_epoch), examples, samples, batch, in_epoch, ends

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
        progress: tuple[int, int] = super()._init_training_state(  # type: ignore[misc]
            max_steps, num_update_steps_per_epoch, num_train_epochs, *args, **kwargs
        )
        base, position = _base(self), self._bt_place
        session = self._bt_session
        if session is not None and base is not None and base.mode == "exact":
            if not session.rehearses:
                session.read(trainer_history.bring_best_model, self, session.store, base.origin)
        if self._bt_session is not None and self._bt_session.rehearses:
            self._bt_session.uncovered = coverage.of_trainer(self)
        if position is None:
            return progress
        if base is None or not trainer_resumption.knows_place(base):
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
        with schedule_recipe.made_for(optimizer or self.optimizer, rate):  # type: ignore[attr-defined]
            scheduler = super().create_scheduler(steps, optimizer)  # type: ignore[misc]
        if recipe is not None and self._created_lr_scheduler:  # type: ignore[attr-defined]
            schedule_recipe.follow(scheduler, recipe)
        return scheduler

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Do as the Trainer's own, and count."""
        position = self._bt_place
        trainer_resumption.restore_attributes(self)
        if self._bt_session is None or position is None:
            return super().get_batch_samples(epoch_iterator, num_batches, device)  # type: ignore[misc]
        if self._bt_has_ended:
            self.control.should_training_stop = self.control.should_epoch_stop = True  # type: ignore[attr-defined]
            return [], None
        self._bt_loop_settings.begin_update()
        accumulation: int = self.args.gradient_accumulation_steps  # type: ignore[attr-defined]
        if self._bt_bounds is not None:
            # No more than there are: requesting another may draw for the next pass.
            num_batches = min(accumulation, position.left() + position.batches % accumulation)
        batch_count = position.wanted(num_batches, accumulation)
        if batch_count <= 0:
            self.control.should_epoch_stop = True  # type: ignore[attr-defined]
            return [], None
        batches = position.reading(epoch_iterator)
        samples = super().get_batch_samples(batches, batch_count, device)  # type: ignore[misc]
        if self._bt_bounds is not None and not samples[0]:
            self.control.should_epoch_stop = True  # type: ignore[attr-defined]
        position.fetched(len(samples[0]))
        if self._bt_session.witness is not None:
            self._bt_session.witness.take(samples[0])
        return samples

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Do as `Trainer.evaluate`; during training, random generators are not affected."""
        if self._bt_session is None:
            return super().evaluate(*args, **kwargs)  # type: ignore[misc]
        signals = self._bt_session.signals
        signals.is_evaluating = True
        try:
            with rng.preserved():
                return super().evaluate(*args, **kwargs)  # type: ignore[misc]
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
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any, *args: Any, **kwargs: Any) -> None:
        session, events = self._bt_session, self._bt_events
        if session is None or session.recorder is None:
            super()._save_checkpoint(model, trial, *args, **kwargs)  # type: ignore[misc]
            return
        if events.puts_off():
            return
        trainer: Any = self
        due = events.takes_due()
        session.control_point(
            events.point(),
            save=due,
            final=trainer.control.should_training_stop,
            epoch_over=events.epoch_over,
        )
        if due or session.stop_asked:
            opening.point_at_newest(self, session)
        if session.stop_asked:
            trainer.control.should_training_stop = True
        wants_files = trainer.args.load_best_model_at_end or trainer.args.push_to_hub
        if due and wants_files and not session.rehearses:
            super()._save_checkpoint(model, trial, *args, **kwargs)  # type: ignore[misc]

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        # The whole state of a node is loaded at once, below, when there is an optimizer for it.
        if _base(self) is None:
            super()._load_from_checkpoint(*args, **kwargs)  # type: ignore[misc]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        base = _base(self)
        if base is None:
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        else:
            trainer_resumption.restore(self, base)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        base = _base(self)
        if base is None:
            super()._load_rng_state(checkpoint)  # type: ignore[misc]
            if self._bt_place is not None:
                # What has been fetched for the first update has not been trained on.
                with self._bt_place.before_fetching():
                    self._bt_events.commit_root()
        elif base.mode == "exact" and not (self._bt_place and self._bt_place.began_within):
            # Within an epoch its first batches were fetched first, and restored them then.
            trainer_resumption.restore_rng(base)

    def _load_scaler(self, checkpoint: str | None) -> None:
        base = _base(self)
        if base is None:
            super()._load_scaler(checkpoint)  # type: ignore[misc]
        else:
            state.restore_scaler(self, base.snapshot, base.mode)

    def _load_best_model(self) -> None:
        # The final node holds the final state of the training, not an earlier best model.
        self._bt_events.commit_final()
        super()._load_best_model()  # type: ignore[misc]


def _base(trainer: Any) -> Base | None:
    session: Session | None = getattr(trainer, "_bt_session", None)
    return None if session is None else session.base


def _silence(trainer: Any) -> None:
    """Remove the callbacks that report to other trackers or clean its folder: this is a trial."""
    trainer.args.save_total_limit = None
    for kind in INTEGRATION_TO_CALLBACK.values():
        trainer.remove_callback(kind)
