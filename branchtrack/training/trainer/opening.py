"""Where a Trainer's training begins: which session it is, or that it is passed over."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from typing import Any

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import TrainOutput, get_last_checkpoint

from branchtrack.core.records import Segment
from branchtrack.db import metrics, nodes
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from branchtrack.training import rng
from branchtrack.training.record import commits
from branchtrack.training.session import opening
from branchtrack.training.session.base import Base
from branchtrack.training.session.opening import LATEST, Resumption
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.session.unrecorded.passed_over import PassedOver
from branchtrack.training.state import snapshots
from branchtrack.training.trainer import checkpoint_pointers, script
from branchtrack.training.trainer import history as trainer_history
from branchtrack.training.trainer import state as trainer_state
from branchtrack.training.trainer.protocol import BranchingTrainer
from branchtrack.training.trainer.resumption import script_folder

#: What a Trainer reports about a whole training, as its last line logs it.
_OUTPUT = (
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "total_flos",
    "train_loss",
    "epoch",
)


def open_session(
    trainer: BranchingTrainer, checkpoint: Any, resume: Resumption | None
) -> tuple[TrainingSession, str | bool | None]:
    """Return the session of a training, and transformers' own checkpoint to resume, if any.

    Raises:
        InvalidInput: two places to continue from. Otherwise as `opening.open_session`.
    """
    if resume is not None and checkpoint:
        raise InvalidInput(
            "resume_from_checkpoint",
            checkpoint,
            "resume_from_node alone",
            what="Both resume_from_node and resume_from_checkpoint say where to continue from.",
        )
    folder = script_folder(trainer)
    newest = _newest_checkpoint(folder)
    if checkpoint is True or (checkpoint and newest and _same_folder(checkpoint, newest)):
        resume, checkpoint = Resumption(LATEST), newest
    session = opening.open_session(_run_name(trainer), resume, output=folder)
    if (
        checkpoint
        and not isinstance(checkpoint, bool)
        and checkpoint_pointers.is_pointer(checkpoint)
    ):
        # It only names a node, which the record lacks, or which is continued from.
        checkpoint = None
    return session, checkpoint


def begin(trainer: BranchingTrainer, session: TrainingSession) -> None:
    """Make a trainer train for a session, as if it had never trained before."""
    trainer._bt_session = session
    session.actions = trainer._bt_actions
    session.evaluates = trainer.eval_dataset is not None
    trainer._bt_script = script.describe_script(trainer)
    trainer._bt_position, trainer._bt_schedule, trainer._bt_bounds = None, None, None
    trainer._bt_first_step, trainer._bt_has_ended = 0, False
    if session.records:
        session.signals.on()
    else:
        _silence(trainer)


def _silence(trainer: BranchingTrainer) -> None:
    """Remove the callbacks that report to other trackers or clean its folder: this is a trial."""
    trainer.args.save_total_limit = None
    for kind in INTEGRATION_TO_CALLBACK.values():
        trainer.remove_callback(kind)


def point_at_newest(trainer: BranchingTrainer, session: TrainingSession) -> None:
    """Point the script to the newest node where it looks for its newest checkpoint.

    A queue restarts only this, so it is done only for a run's first branch.
    """
    step, args = trainer.state.global_step, trainer.args
    if args.load_best_model_at_end or args.push_to_hub:
        # There are checkpoints of the Trainer's own.
        return
    if not session.records or session.own_branch() is not None or not step:
        return
    folder = script_folder(trainer)
    session.when_durable(lambda node: checkpoint_pointers.write(folder, step, node))


def pass_over(trainer: BranchingTrainer, session: TrainingSession) -> TrainOutput:
    """Leave a trainer in its training's final state, and return what that returned.

    A training that is left untrained has made no step.

    Raises:
        LaunchFailed: the state does not fit the trainer.
    """
    assert isinstance(session, PassedOver)
    base = session.base
    if base is None:
        session.close("finished")
        return TrainOutput(trainer.state.global_step, 0.0, {})
    try:
        output = session.give_back(lambda: _give_back(trainer, session, base))
    except BaseException as error:
        session.close("failed", str(error))
        raise
    session.close("finished")
    return TrainOutput(base.fork.step, output.get("train_loss", 0.0), output)


def _give_back(trainer: BranchingTrainer, session: PassedOver, base: Base) -> dict[str, float]:
    loop = snapshots.loop_state(base.snapshot)
    with tempfile.TemporaryDirectory(prefix="branchtrack-") as folder:
        changed = {"global_step": base.fork.step, "max_steps": _last_step(base)}
        history = session.read(partial(trainer_history.log_history, is_over=True), base.fork)
        trainer_state.write_trainer_state(trainer, loop["trainer"], folder, changed, history)
        state = TrainerState.load_from_json(os.path.join(folder, "trainer_state.json"))
    snapshots.restore_whole_model(trainer.model, base.snapshot)
    best = state.best_global_step
    if trainer.args.load_best_model_at_end and best and best != base.fork.step:
        _load_best(trainer, session, base, best)
    trainer.state, trainer.is_in_train = state, False
    rng.restore(snapshots.random_state(base.snapshot))
    return _output(session.database, session.trained_in)


def _load_best(trainer: BranchingTrainer, session: PassedOver, base: Base, step: int) -> None:
    """Load the best node's weights, with which such a training ends."""
    with session.database.read() as connection:
        branch_nodes = nodes.of_branch(connection, base.fork.branch_id)
        best = next((node for node in reversed(branch_nodes) if node.step == step), None)
        stored = None if best is None else nodes.checkpoint(connection, best.state_digest)
    if best is None or stored is None:
        raise session.refuse(f"its best model, of step {step}, is in no node.")
    snapshots.restore_whole_model(trainer.model, commits.load(session.store, stored, best))


def _output(database: Database, segment: Segment | None) -> dict[str, float]:
    if segment is None:
        return {}
    output = {}
    with database.read() as connection:
        for name in _OUTPUT:
            series = metrics.read(connection, [segment.id], name).get(segment.id)
            if series is not None and series.values.size:
                output[name] = float(series.values[-1])
    return output


def _last_step(base: Base) -> int:
    return int(base.fork.settings.get("max_steps") or base.fork.step)


def _newest_checkpoint(folder: str) -> str | None:
    if not os.path.isdir(folder):
        return None
    checkpoint: str | None = get_last_checkpoint(folder)
    return checkpoint


def _same_folder(a: Any, b: str) -> bool:
    return isinstance(a, (str, os.PathLike)) and os.path.realpath(a) == os.path.realpath(b)


def _run_name(trainer: BranchingTrainer) -> str | None:
    name, folder = trainer.args.run_name, script_folder(trainer)
    return name if name and name != folder else None
