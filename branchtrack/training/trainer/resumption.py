"""A node restored to a Trainer: its counters, state and position, then what was declared to change.

Nothing of the script silently replaces the node's, and nothing of the node replaces what was
declared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transformers import TrainingArguments

from branchtrack.core.builtin_settings import RECIPE, SCHEDULE_FROM
from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training import rng
from branchtrack.training.data import division, redraws
from branchtrack.training.data.growth import LENGTH, place_words
from branchtrack.training.session.base import Base
from branchtrack.training.settings import apply, schedule_length
from branchtrack.training.state import snapshots, weights
from branchtrack.training.state.mismatch import accepted, equal
from branchtrack.training.state.script_record import require_same_script
from branchtrack.training.trainer import schedule_recipe, script_objects
from branchtrack.training.trainer import script as trainer_script
from branchtrack.training.trainer import state as trainer_state
from branchtrack.training.trainer.protocol import BranchingTrainer
from branchtrack.training.trainer.state import live_objects


def prepare(
    trainer: BranchingTrainer, base: Base, folder: str, history: list[dict[str, Any]]
) -> None:
    """Before training: compare the script, take the node's settings, write the Trainer's counters.

    ``history`` is what was logged up to the node.

    Raises:
        CheckpointMismatch: the script requests something else, undeclared.
        InvalidInput: what was declared is impossible with this script.
    """
    settings = base_settings(base)
    if base.mode == "exact":
        _check(trainer, base, late=False)
        # Both would make the resumed process differ from the one that continued.
        trainer.args.ignore_data_skip = trainer.args.eval_on_start = False
        trainer._bt_schedule = _recipe(base, trainer.args.learning_rate)
    trainer_script.take(trainer, settings)
    if base.overrides.keys() & {schedule_recipe.KIND, schedule_recipe.KWARGS}:
        trainer_script.check_schedule(trainer, settings.get("lr"))
    counters: Mapping[str, Any] = {}
    changed: dict[str, Any] = {"global_step": base.fork.step}
    if base.mode == "exact":
        counters = snapshots.loop_state(base.snapshot)["trainer"]
        changed |= {
            name: settings[name]
            for name in ("max_steps", "logging_steps", "eval_steps", "save_steps")
            if name in settings
        }
        changed["train_batch_size"] = trainer._train_batch_size
    else:
        changed["max_steps"] = settings.get("max_steps") or max(trainer.args.max_steps, 1)
    trainer_state.write_trainer_state(trainer, counters, folder, changed, history)


def has_ended(base: Base) -> bool:
    """Return whether a callback ended training at the node, and nothing was declared since."""
    is_as_it_was = base.mode == "exact" and not base.overrides
    return is_as_it_was and bool(snapshots.loop_state(base.snapshot).get("ended"))


def own_folder(trainer: BranchingTrainer, branch: str | None) -> None:
    """Give a branch that is not the run's first a folder of its own within the script's.

    Branches that train at once would mistake each other's checkpoints for theirs.
    """
    folder = script_folder(trainer)
    branch_folder = folder if branch is None else os.path.join(folder, "branches", branch)
    trainer.args.output_dir = trainer._bt_branch_folder = branch_folder


def script_folder(trainer: BranchingTrainer) -> str:
    """Return the folder that the script itself writes to, whatever branch was trained last."""
    if trainer.args.output_dir != trainer._bt_branch_folder:
        trainer._bt_output_folder = output_folder(trainer.args)
    return trainer._bt_output_folder


def output_folder(args: TrainingArguments) -> str:
    """Return the folder in a Trainer's arguments, which have one once they are complete."""
    assert args.output_dir is not None
    return args.output_dir


def base_settings(base: Base) -> Mapping[str, Any]:
    """Return the settings that training continues with, as far as the script does not set them."""
    return base.fork.settings if base.mode == "exact" else base.overrides


def last_step(base: Base, natural: int) -> int:
    """Return the step at which training ends; ``natural`` is the script's number of updates.

    Raises:
        InvalidInput: it is not after the node's.
    """
    default = natural if base.mode == "exact" else base.fork.step + natural
    end_step = int(base_settings(base).get("max_steps", default))
    if end_step <= base.fork.step:
        raise InvalidInput("max_steps", end_step, f"more than the node's step {base.fork.step}")
    return end_step


def knows_position(base: Base) -> bool:
    """Return whether the data position comes from the node, not from its number of updates."""
    return base.mode == "weights" or "epoch" in _data(base)


def resume_position(trainer: BranchingTrainer, base: Base) -> None:
    """Make the new loader continue where the node's was.

    Raises:
        InvalidInput: another batch size was declared, and the loader does not have it.
    """
    position = trainer._bt_position
    assert position is not None
    size, has = base.overrides.get("batch_size"), position.batch_size
    if size is not None and has != size:
        raise InvalidInput(
            "batch_size",
            size,
            "what the script's own loader has" + (f": {has}" if has else ""),
            what="The script makes its own batches, which do not follow the Trainer's batch size.",
        )
    # With the weights alone there may be no more of the state.
    stored = _data(base) if base.mode == "exact" else {}
    if "epoch" in stored:
        if _data_changed(trainer, base):
            stored = position.in_changed_data(stored)
            base.parts["data position"] = place_words(stored, _data(base))
        elif base.reshuffles:
            stored = position.redrawn_by(stored, base.reshuffles)
            base.parts.update(redraws.parts(stored, _data(base)))
        words = division.words(stored, position.divided)
        base.parts.update({"data position": words} if words else {})
        position.resume(stored, _random(base), base.seed)


def restore(trainer: BranchingTrainer, base: Base) -> None:
    """Restore the model, the optimizer and the scheduler, then apply what was changed.

    Raises:
        CheckpointMismatch: they do not fit the node.
    """
    live = live_objects(trainer)
    if base.mode == "weights":
        base.parts.update(
            weights.take(live.model, snapshots.fit(live.model, base.snapshot), base.overrides)
        )
    else:
        if base.script is None:
            _check_settings(live, base.fork.settings)
        _check(trainer, base, late=True)
        _restore_state(trainer, live, base)
        if "max_steps" in base.overrides:
            schedule_length.check(
                live,
                base.fork.step,
                base.overrides["max_steps"],
                each_update=True,
                before=None,
                way="only the weights: --mode weights",
            )
    current = apply.read_all(live, details=True)
    target = {name: base_settings(base).get(name, value) for name, value in current.items()}
    changed = {name: value for name, value in target.items() if current[name] != value}
    apply.write_all(live, apply.normalize(live, changed))


def restore_attributes(trainer: BranchingTrainer) -> None:
    """Restore, once, what objects of the script kept in attributes; see `Attributes`.

    That is where the loop continues: after every callback's own beginning.
    """
    base: Base | None = getattr(trainer, "_bt_base_to_finish", None)
    trainer._bt_base_to_finish = None
    session = trainer._bt_session
    if base is None or base.mode != "exact" or session is None:
        return
    session.restore_attributes(live_objects(trainer), snapshots.attributes(base.snapshot))


def restore_rng(base: Base) -> None:
    """Set every random generator to the node's, or to the seed that was declared."""
    rng.restore(_random(base))


def _check(trainer: BranchingTrainer, base: Base, *, late: bool) -> None:
    """Compare the script, or the optimizer and the scheduler that it has created since."""
    if base.script is None:
        return

    def these(script: Mapping[str, Any]) -> Mapping[str, Any]:
        late_ones = script_objects.MADE_LATE
        return {n: v for n, v in script.items() if (n.partition(".")[0] in late_ones) == late}

    current, recorded = these(trainer._bt_script), these(base.script)
    if not late and "model" not in recorded:
        # Recorded by an earlier version, which compared less.
        current = {name: value for name, value in current.items() if name in recorded}
    names = accepted(base.overrides, trainer._bt_script, base.script)
    comparison = trainer_script.TrainerComparison(
        current, recorded, base.fork.settings, base.overrides
    )
    require_same_script(comparison, names)


def _restore_state(trainer: BranchingTrainer, live: apply.Live, base: Base) -> None:
    stored = base.snapshot.state["scheduler"]
    kind = type(live.scheduler).__name__
    fresh_state = dict(live.scheduler.state_dict()) if live.scheduler is not None else {}
    if schedule_recipe.KIND in base.overrides and stored and stored["class"] != kind:
        # Nothing of another class's state can be used; the step is.
        alone = replace(live, scheduler=None)
        state = {**base.snapshot.state, "scheduler": None}
        snapshots.restore(alone, replace(base.snapshot, state=state))
        hold = base.overrides.get(SCHEDULE_FROM.name) == "hold"
        schedule_recipe.take_rates(live, base.fork.step, hold=hold)
        return
    snapshots.restore(live, base.snapshot)
    if schedule_recipe.KWARGS in base.overrides:
        schedule_recipe.take_arguments(live.scheduler, fresh_state)
    if base.overrides.keys() & set(schedule_recipe.ALL):
        schedule_recipe.take_rates(live, _updates(base))


def _recipe(base: Base, script_rate: float) -> dict[str, Any] | None:
    """Return the recipe of the schedule; None if the script makes the same by itself."""
    fork, before, at = base.fork, base.origin.settings, _updates(base)
    if "max_steps" not in before or schedule_recipe.KIND not in before:
        return None
    done = fork.step - at
    ends = (before["max_steps"] - done, fork.settings["max_steps"] - done)
    recipe = before.get(RECIPE)
    warmup = int(fork.settings.get("warmup_steps", 0))
    where = schedule_recipe.Where(
        at, ends, warmup, schedule_recipe.share(base.snapshot.param_groups)
    )
    revised = schedule_recipe.revised(recipe, base.overrides, where)
    rate = revised.pop("lr", (base.script or {}).get("learning_rate", script_rate))
    if base.overrides.keys() & schedule_recipe.MADE_FOR_RATE:
        rate = fork.settings.get("lr", rate)
    if rate != script_rate:
        revised["lr"] = rate
    return None if revised == {"steps": fork.settings["max_steps"], "path": []} else revised


def _updates(base: Base) -> int:
    """Return the updates the node's schedule has seen; fewer than its step if it restarted."""
    scheduler = base.snapshot.state["scheduler"] or {"class": "", "state": {}}
    last_epoch = scheduler["state"].get("last_epoch")
    # One that follows the evaluation counts something else.
    counts = scheduler["class"] == "LambdaLR" and isinstance(last_epoch, int)
    return int(last_epoch) if counts else base.fork.step


def _check_settings(live: apply.Live, settings: Mapping[str, Any]) -> None:
    """Compare with the node itself, whose script was not recorded.

    Raises:
        CheckpointMismatch: with both values.
    """
    of_loop = {} if live.loop is None else live.loop.declared
    current = {**apply.read_all(live), **live.fixed}
    for name in [*live.fixed, *of_loop]:
        if name in settings and name in current and current[name] != settings[name]:
            raise CheckpointMismatch(
                f"{name} is {current[name]!r} in the script and {settings[name]!r} in the node.",
                safe="No training was done.",
                fix="Make the script agree with the node, or start a new run.",
                field=name,
                expected=settings[name],
                found=current[name],
            )


def _data_changed(trainer: BranchingTrainer, base: Base) -> bool:
    """Return whether the script has more rows or fewer, declared as intended."""
    before, name = base.script, LENGTH
    return (
        before is not None and name in before and not equal(trainer._bt_script[name], before[name])
    )


def _random(base: Base) -> dict[str, Any]:
    return snapshots.random_state(base.snapshot, base.seed)


def _data(base: Base) -> dict[str, Any]:
    data: dict[str, Any] = snapshots.loop_state(base.snapshot)["data"]
    return data
