"""What a script requests of a Trainer, and how it compares with the node it resumes.

The request of the node's own script is recorded with its segment. A resumed process whose script
requests something else is refused, unless the difference was declared or is what the node has.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from transformers import get_scheduler
from transformers.trainer_utils import IntervalStrategy, SchedulerType

from branchtrack import redaction
from branchtrack.core import builtin_settings, schedules
from branchtrack.errors import InvalidInput
from branchtrack.training.settings.dataset_settings import PREFIX
from branchtrack.training.state.mismatch import quoted
from branchtrack.training.state.script_record import (
    AUTHOR_PREFIX,
    ScriptComparison,
    author_settings,
)
from branchtrack.training.trainer import schedule_recipe, script_objects
from branchtrack.training.trainer.protocol import BranchingTrainer

#: Arguments that do not affect what is trained, logged or evaluated.
_OUTWARD = frozenset(
    """output_dir run_name project report_to disable_tqdm log_level log_level_replica
    log_on_each_node trackio_space_id trackio_bucket_id trackio_static_space_id push_to_hub
    hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision do_train
    do_eval do_predict resume_from_checkpoint save_total_limit save_only_model save_on_each_node
    enable_jit_checkpoint restore_callback_states_from_checkpoint local_rank debug
    skip_memory_metrics dataloader_pin_memory dataloader_prefetch_factor ddp_timeout
    torch_empty_cache_steps use_cache""".split()
)
#: What is restored with the node, whatever the script says, or does not fit its state.
_RESTORED = frozenset("model optimizer scheduler frozen dropout optim optim_args".split())
#: The setting for a declared change of an argument.
_SETTING_OF = {
    argument: name
    for name, setting in builtin_settings.SETTINGS.items()
    if not setting.is_directive
    for argument in (name, *setting.arguments)
}


def describe_script(trainer: BranchingTrainer) -> dict[str, Any]:
    """Return what the script requests, as plain values; call it before taking a node's settings."""
    values = {
        name: value
        for name, value in trainer.args.to_dict().items()
        if name not in _OUTWARD and value is not None and not redaction.is_secret(name)
    }
    values = redaction.redacted_values(values)
    values |= author_settings(trainer._bt_values)
    return values | script_objects.of_data(trainer) | script_objects.of_model(trainer.model)


class TrainerComparison(ScriptComparison):
    """The records of two scripts with a Trainer."""

    def setting_of(self, name: str) -> str:
        """See the base class."""
        if name.startswith("model.config."):
            return "dropout" if "drop" in name else ""
        if name.startswith(PREFIX):
            return name
        if name.startswith(AUTHOR_PREFIX):
            return name.removeprefix(AUTHOR_PREFIX)
        return _SETTING_OF.get(name.removeprefix("optimizer."), "")

    def is_declared(self, name: str) -> bool:
        """See the base class; secrets are not compared."""
        return self.setting_of(name) in self.declared or redaction.is_secret(name)

    def is_in_node(self, name: str) -> bool:
        """See the base class."""
        setting, actual = self.setting_of(name), self.current.get(name)
        if setting not in self.settings:
            return False
        requested = schedules.write(actual) if name == schedules.KWARGS else actual
        return bool(requested == _part(name, self.settings[setting]))

    def is_intended(self, name: str) -> bool:
        """See the base class."""
        is_restored = name.partition(".")[0] in _RESTORED
        return self.setting_of(name) not in self.settings and not is_restored

    def option(self, name: str) -> str:
        """See the base class."""
        values = self.current.get(name), self.recorded.get(name)
        return _option(name, self.setting_of(name), values, self.settings)


def take(trainer: BranchingTrainer, settings: Mapping[str, Any]) -> None:
    """Make a trainer, before it trains, use a node's settings of its loop.

    Raises:
        InvalidInput: the script lacks what a setting needs.
    """
    args = trainer.args
    plain = "gradient_accumulation_steps logging_steps eval_steps save_steps warmup_steps seed"
    for name in plain.split():
        if name in settings:
            setattr(args, name, settings[name])
    if "seed" in settings and args.data_seed is not None:
        args.data_seed = settings["seed"]
    if "batch_size" in settings:
        args.per_device_train_batch_size = settings["batch_size"] // max(1, args.n_gpu)
        trainer._train_batch_size = settings["batch_size"]
    kind = settings.get(schedules.KIND) or args.lr_scheduler_type
    if kind != args.lr_scheduler_type:
        _take_schedule(trainer, kind)
    if schedules.KWARGS in settings:
        args.lr_scheduler_kwargs = schedules.read(settings[schedules.KWARGS]) or None


def _take_schedule(trainer: BranchingTrainer, kind: str) -> None:
    args = trainer.args
    watches = kind in schedules.WATCHING
    if watches and args.eval_strategy == IntervalStrategy.NO:
        raise InvalidInput(
            "lr_scheduler_type",
            kind,
            "a schedule that needs no evaluation",
            what=f"{kind} follows the evaluation loss, and the script does not evaluate.",
        )
    if watches and args.metric_for_best_model is None:
        args.metric_for_best_model, args.greater_is_better = "loss", False
    # The other arguments of a schedule apply only to its shape.
    args.lr_scheduler_type, args.lr_scheduler_kwargs = SchedulerType(kind), None


def check_schedule(trainer: BranchingTrainer, rate: float | None) -> None:
    """Create a declared schedule for a throw-away optimizer, before anything is trained.

    ``rate`` is the current base rate.

    Raises:
        InvalidInput: this version of transformers has no such schedule, or other arguments.
    """
    args = trainer.args
    aside = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate or args.learning_rate)
    kwargs = schedule_recipe.kwargs_of(args)
    steps = max(args.max_steps, 2)
    try:
        with warnings.catch_warnings(action="ignore"):
            get_scheduler(
                args.lr_scheduler_type,
                aside,
                args.get_warmup_steps(steps),
                steps,
                dict(kwargs) if kwargs else None,
            )
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            schedules.KWARGS,
            schedules.write(kwargs),
            "arguments that transformers accepts",
            what=f"transformers refused the schedule: {error}",
        ) from error


def _part(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return value[1 if name.endswith("2") else 0]
    return value


def _option(name: str, setting: str, values: tuple[Any, Any], settings: Mapping[str, Any]) -> str:
    """Return what declares a change; ``values`` are the script's and those of the node's script."""
    actual, expected = values
    # The optimizer that a Trainer creates has no groups for what its script has frozen.
    if (
        setting == "frozen"
        or setting not in settings
        or actual is None
        or (name == "max_steps" and actual < 1)
    ):
        # What the node lacks cannot be changed at its resume.
        return ""
    if setting == "max_steps":
        return _length(name, actual, expected, settings)
    if setting == "betas" and isinstance(actual, (list, tuple)):
        actual = ",".join(map(str, actual))
    elif setting == "betas":
        pair = list(settings["betas"])
        pair[name.endswith("2")] = actual
        actual = f"{pair[0]},{pair[1]}"
    elif name == schedules.KWARGS:
        actual = schedules.write(actual)
    return f"--set {setting}={quoted(actual)}"


def _length(name: str, actual: Any, expected: Any, settings: Mapping[str, Any]) -> str:
    """Return what declares another end; the updates of an epoch follow from the node's."""
    before, steps = settings["max_steps"], actual if name == "max_steps" else "N"
    if name == "num_train_epochs" and expected:
        steps = math.ceil(before / expected * actual)
    if settings.get(schedules.KIND) in (None, *schedules.ENDLESS):
        return f"--set max_steps={steps}"
    return f"--set max_steps={steps} --set horizon=rescale"
