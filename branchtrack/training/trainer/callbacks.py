"""The callback that a branching Trainer has: when a control point is due, and for what reason."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import SaveStrategy

from branchtrack.training.record.committer import Point
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.state import model_repr, snapshots
from branchtrack.training.trainer import opening
from branchtrack.training.trainer import state as trainer_state
from branchtrack.training.trainer.protocol import BranchingTrainer
from branchtrack.training.trainer.state import live_objects


class Events(TrainerCallback):
    """The callback that the mixin installs after all others: when to save, and for what reason.

    A save is *due* if the script has requested it; otherwise requests or the end have.
    """

    def __init__(self, trainer: BranchingTrainer) -> None:
        self.trainer = trainer
        self.resumes = False
        self._rooted = False
        self._epoch_over = False
        self._asked_by_us = False
        self._evaluated = False
        self._put_off = False
        #: Whether an update has been made and no batch of the next was drawn.
        self._is_between = False

    @property
    def epoch_over(self) -> bool:
        """Whether the epoch has ended, and no update of another has begun."""
        return self._epoch_over

    @property
    def session(self) -> TrainingSession | None:
        """The session of the current training, once it records."""
        current: TrainingSession | None = self.trainer._bt_session
        return None if current is None or not current.is_begun else current

    def point(self) -> Point:
        """Return where training is now, for a control point."""
        trainer = self.trainer
        return Point(
            live=live_objects(trainer),
            step=trainer.state.global_step,
            epoch=float(trainer.state.epoch or 0.0),
            extra=lambda: trainer_state.loop_state(trainer),
            evaluate=lambda: trainer_state.evaluate(trainer),
        )

    def puts_off(self) -> bool:
        """Whether the requested save has to wait for the end of the epoch, which comes next."""
        if self._epoch_over or not self._ends_epoch():
            return False
        self._put_off = self._put_off or self._is_due()
        return True

    def takes_due(self) -> bool:
        """Return whether the script has requested the save that is being made."""
        due, self._put_off = self._put_off or self._is_due(), False
        return due

    def control_point(self) -> bool:
        """Do what is due in place of the Trainer's own checkpoint; return whether it is written
        all the same.
        """
        trainer, session = self.trainer, self.session
        assert session is not None
        due = self.takes_due()
        session.control_point(
            self.point(),
            save=due,
            final=trainer.control.should_training_stop,
            epoch_over=self.epoch_over,
        )
        if due or session.stop_asked:
            opening.point_at_newest(trainer, session)
        if session.stop_asked:
            trainer.control.should_training_stop = True
        args = trainer.args
        return due and session.records and (args.load_best_model_at_end or args.push_to_hub)

    def commit_root(self) -> None:
        """Commit the state before the first update, unless that was done already."""
        session = self.session
        if session is not None and not self._rooted:
            self._rooted = True
            session.commit_root(self.point(), model_repr.summary(self.trainer.model))
            session.ready(self.point())

    def commit_final(self) -> None:
        """Commit the final state of the training, unless that was done already."""
        if self.session is not None:
            self.session.control_point(self.point(), save=False, final=True)

    def commit_here(self) -> None:
        """Commit the state as it is, when no further control point will come."""
        if self.session is None:
            return
        if not self._epoch_over and self._ends_epoch():
            self._epoch_over = True
            if self.trainer._bt_position is not None:
                self.trainer._bt_position.end(cut_short=False)
        self.session.control_point(
            self.point(), save=False, final=False, epoch_over=self._epoch_over
        )

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session: TrainingSession | None = self.trainer._bt_session
        if session is not None:
            self._rooted = self._put_off = False
            trainer = self.trainer
            trainer._bt_attributes = trainer_state.attributes_of(trainer, trainer._bt_tracked)
            trainer._bt_base_to_finish = session.base
            if session.base is not None and session.base.mode == "exact":
                loop = snapshots.loop_state(session.base.snapshot)
                trainer_state.restore_window(self.trainer, loop)
            session.begin(self.point(), state.max_steps, self.trainer._bt_script)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._epoch_over = False
        if self.trainer._bt_position is not None:
            self.trainer._bt_position.begin()
        # A checkpoint of the Trainer's own restores its random state later: see `_load_rng_state`.
        if not self.resumes:
            self.commit_root()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._is_between = False
        self.commit_root()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is not None and session.witness is not None:
            session.witness.before_step()
        if session is not None and session.expecting is not None:
            session.before_update(live_objects(self.trainer), state.global_step + 1)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.session is not None and self.session.is_reading:
            self.session.after_update(live_objects(self.trainer))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is None:
            return
        self._is_between = True
        session.advance(state.global_step)
        if session.witness is not None:
            session.prove(state.global_step, live_objects(self.trainer))
        if session.is_reading:
            session.finish_update(live_objects(self.trainer))
        self._asked_by_us = self._evaluated = False
        if session.is_called or control.should_training_stop:
            self._ask(control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._evaluated = True
        if self.session is not None:
            self.session.note_evaluation(state.global_step)
        # A callback such as early stopping may have ended training just now.
        if self.session is not None and control.should_training_stop:
            self._ask(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        session = self.session
        if session is None:
            return
        self._epoch_over = True
        if self.trainer._bt_position is not None:
            self.trainer._bt_position.end(cut_short=control.should_training_stop)
        self._asked_by_us = self._evaluated = False
        due = session.is_due(save=self._put_off, epoch_over=True)
        if due or control.should_training_stop:
            self._ask(control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        session = self.session
        if session is None or not logs:
            return
        session.log(state.global_step, logs)
        # A request may wait for these values; within an update there is no control point.
        if self._is_between and session.is_called:
            self._ask(control)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.commit_root()
        self.commit_final()

    def _ask(self, control: Any) -> None:
        if not control.should_save:
            control.should_save = self._asked_by_us = True

    def _is_due(self) -> bool:
        # With "best" only an evaluation decides, whatever was requested before it.
        best = self.trainer.args.save_strategy == SaveStrategy.BEST
        return (best and self._evaluated) or not self._asked_by_us

    def _ends_epoch(self) -> bool:
        """Return whether no update follows in this epoch; training cut short has no end."""
        state, control = self.trainer.state, self.trainer.control
        if control.should_epoch_stop and not control.should_training_stop:
            return True
        return bool(state.epoch == int(state.epoch) or state.global_step >= state.max_steps)


class Ends(TrainerCallback):
    """Ends training with the script's last epoch, even if its last update was not reached.

    Otherwise a loader that yields less than its length would continue to that update. It runs after
    all other callbacks, which must not see an end that the Trainer's own loop does not signal.
    """

    def __init__(self, trainer: BranchingTrainer) -> None:
        self.trainer = trainer

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        bounds = self.trainer._bt_bounds
        if bounds is None or self.trainer._bt_position is None:
            return
        now = (state.max_steps, args.gradient_accumulation_steps)
        unchanged = now == (bounds.max_steps, bounds.accumulation)
        if unchanged and self.trainer._bt_position.epoch + 1 >= bounds.epochs:
            control.should_training_stop = True
