"""The Hugging Face Trainer mixin: the same Trainer, whose checkpoints and changes become nodes.

Its place in the loop of transformers 5:

    on_train_begin                         <- take the segment
    for each epoch:
        on_epoch_begin                     <- the first time: commit the root of a new run
        for each update:
            on_step_begin, forward, backward, (clip)
            on_pre_optimizer_step          <- read back what this update uses, if that is due
            optimizer.step()
            on_optimizer_step              <- read back again
            scheduler.step()
            on_step_end                    <- one flag test; asks for a save if requests wait
            log, evaluate
            _save_checkpoint               <- CONTROL POINT: apply, capture, commit
        on_epoch_end                       <- asks for a save that the epoch's end has put off
        log, evaluate
        _save_checkpoint                   <- CONTROL POINT
    _load_best_model, on_train_end         <- CONTROL POINT, where there was none at this step

The last update of an epoch has its control point after the end of the epoch, which may log and
evaluate: a training that is resumed there begins with the next epoch, and would do neither.

No loop is copied: callbacks, public methods and the overrides named in `_save_checkpoint` and
`_load_*`, each of which falls back to ``super()`` where branchtrack has no part.
"""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any

from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import SaveStrategy

from branchtrack.errors import InvalidInput
from branchtrack.training import apply, capture, trainer_state
from branchtrack.training.committer import Point
from branchtrack.training.session import Base, Session
from branchtrack.training.trainer_state import live_objects


@cache
def make_branching(trainer_class: type[Trainer]) -> type[Any]:
    """A subclass of a Trainer class, used exactly as it, whose runs are trees.

    Raises:
        InvalidInput: not a subclass of transformers' Trainer.
    """
    if not (isinstance(trainer_class, type) and issubclass(trainer_class, Trainer)):
        raise InvalidInput("trainer_class", trainer_class, "transformers.Trainer or a subclass")
    if issubclass(trainer_class, BranchTrackMixin):
        return trainer_class
    return type(f"Branching{trainer_class.__name__}", (BranchTrackMixin, trainer_class), {})


class BranchTrackMixin:
    """Mixed in before a Trainer class by `make_branching`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._session: Session | None = None
        self._events = _Events(self)
        self.add_callback(self._events)  # type: ignore[attr-defined]

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer.train`, recorded as a run or, in a launched process, as its branch."""
        _refuse_distributed(self)
        session = self._session = Session.open(_run_name(self))
        try:
            with tempfile.TemporaryDirectory(prefix="branchtrack-") as folder:
                self._events.resumes = bool(resume_from_checkpoint)
                if session.base is not None:
                    trainer_state.write_trainer_state(self, session.base.snapshot, folder)
                    resume_from_checkpoint = folder
                output = super().train(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]
        except KeyboardInterrupt:
            session.close("stopped", "Interrupted from the keyboard.")
            raise
        except BaseException as error:
            session.close("failed", f"{type(error).__name__}: {error}")
            raise
        finally:
            self._session = None
        session.close("stopped" if session.stop_asked else "finished")
        return output

    def _save_checkpoint(self, model: Any, trial: Any, *args: Any, **kwargs: Any) -> None:
        session, events = self._session, self._events
        if session is None or session.recorder is None:
            super()._save_checkpoint(model, trial, *args, **kwargs)  # type: ignore[misc]
            return
        if events.puts_off():
            return
        trainer: Any = self
        due = events.takes_due()
        session.control_point(_point(trainer), save=due, final=trainer.control.should_training_stop)
        if session.stop_asked:
            trainer.control.should_training_stop = True
        if due and (trainer.args.load_best_model_at_end or trainer.args.push_to_hub):
            super()._save_checkpoint(model, trial, *args, **kwargs)  # type: ignore[misc]

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        # The whole state of a node is loaded at once, below, when there is an optimizer for it.
        if _base(self) is None:
            super()._load_from_checkpoint(*args, **kwargs)  # type: ignore[misc]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        base = _base(self)
        if base is None:
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
            return
        live = live_objects(self)
        trainer_state.check_script(self, base.snapshot, base.fork.settings)
        capture.restore(live, base.snapshot)
        current = apply.read_all(live)
        target = {name: base.fork.settings.get(name, value) for name, value in current.items()}
        apply.write_all(live, {k: v for k, v in target.items() if current[k] != v})

    def _load_rng_state(self, checkpoint: str | None) -> None:
        base = _base(self)
        if base is None:
            super()._load_rng_state(checkpoint)  # type: ignore[misc]
            self._events.commit_root()
        else:
            capture.restore_rng(base.snapshot)

    def _load_scaler(self, checkpoint: str | None) -> None:
        base = _base(self)
        if base is None:
            super()._load_scaler(checkpoint)  # type: ignore[misc]
            return
        scaler = getattr(self.accelerator, "scaler", None)  # type: ignore[attr-defined]
        state = capture.loop_state(base.snapshot)["scaler"]
        if scaler is not None and state is not None:
            scaler.load_state_dict(state)

    def _load_best_model(self) -> None:
        # The final node holds what training ended in, not the best model of before.
        self._events.commit_final()
        super()._load_best_model()  # type: ignore[misc]


class _Events(TrainerCallback):
    """The callback that the mixin installs behind all others, and when to save for what reason.

    A save is *due* where the script has asked for it; otherwise requests or the end have.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.resumes = False
        self._rooted = False
        self._epoch_over = False
        self._asked_by_us = False
        self._evaluated = False
        self._put_off = False

    @property
    def session(self) -> Session | None:
        """The session of the training that is going on, once it records."""
        found: Session | None = self.trainer._session
        return None if found is None or found.recorder is None else found

    def puts_off(self) -> bool:
        """Whether the save asked for now has to wait for the end of the epoch, which comes next."""
        if self._epoch_over or not self._ends_epoch():
            return False
        self._put_off = self._put_off or self._is_due()
        return True

    def takes_due(self) -> bool:
        """Whether the script has asked for the save that is being made."""
        due, self._put_off = self._put_off or self._is_due(), False
        return due

    def commit_root(self) -> None:
        """Commit the state before the first update, unless that was done already."""
        session = self.session
        if session is not None and not self._rooted:
            self._rooted = True
            session.commit_root(_point(self.trainer), trainer_state.about(self.trainer.model))

    def commit_final(self) -> None:
        """Commit the state that training has ended in, unless that was done already."""
        if self.session is not None:
            self.session.control_point(_point(self.trainer), save=False, final=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session: Session | None = self.trainer._session
        if session is not None:
            self._rooted = self._put_off = False
            if session.base is not None:
                loop = capture.loop_state(session.base.snapshot)
                trainer_state.restore_window(self.trainer, loop)
            session.begin(_point(self.trainer), state.max_steps)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._epoch_over = False
        # A checkpoint of the Trainer's own brings its random state later: see `_load_rng_state`.
        if not self.resumes:
            self.commit_root()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.commit_root()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is not None and session.expecting is not None:
            session.before_update(live_objects(self.trainer), state.global_step + 1)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.session is not None and self.session.is_reading:
            self.session.after_update(live_objects(self.trainer))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is None or session.recorder is None:
            return
        session.recorder.step = state.global_step
        self._asked_by_us = self._evaluated = False
        if session.recorder.waiting or control.should_training_stop:
            self._ask(control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._evaluated = True
        # A callback such as early stopping may have ended training just now.
        if self.session is not None and control.should_training_stop:
            self._ask(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is None or session.recorder is None:
            return
        self._epoch_over = True
        self._asked_by_us = self._evaluated = False
        if self._put_off or session.recorder.waiting or control.should_training_stop:
            self._ask(control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.session is not None and logs:
            self.session.log(state.global_step, logs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.commit_root()
        self.commit_final()

    def _ask(self, control: Any) -> None:
        if not control.should_save:
            control.should_save = self._asked_by_us = True

    def _is_due(self) -> bool:
        # With "best" an evaluation alone decides, whatever was asked for before it.
        best = self.trainer.args.save_strategy == SaveStrategy.BEST
        return (best and self._evaluated) or not self._asked_by_us

    def _ends_epoch(self) -> bool:
        """Whether no update follows in this epoch; one that was cut short has no such end."""
        state = self.trainer.state
        return bool(state.epoch == int(state.epoch) or state.global_step >= state.max_steps)


def _point(trainer: Any) -> Point:
    return Point(
        live=live_objects(trainer),
        step=trainer.state.global_step,
        epoch=float(trainer.state.epoch or 0.0),
        extra=lambda: trainer_state.loop_state(trainer),
        evaluate=lambda: trainer_state.evaluate(trainer),
    )


def _base(trainer: Any) -> Base | None:
    session: Session | None = getattr(trainer, "_session", None)
    return None if session is None else session.base


def _run_name(trainer: Any) -> str | None:
    name, folder = trainer.args.run_name, trainer.args.output_dir
    return name if name and name != folder else None


def _refuse_distributed(trainer: Any) -> None:
    if trainer.args.world_size > 1:
        raise InvalidInput(
            "WORLD_SIZE",
            trainer.args.world_size,
            "1: random state and data position are per process, which is not supported yet",
        )
