"""What the objects of a script request: its model, and an optimizer and a scheduler of its own.

Their values as plain ones, before a node's state is restored to them. It knows no node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from transformers import Trainer

from branchtrack.training.settings import modules
from branchtrack.training.settings.dataset_settings import declared_values
from branchtrack.training.settings.learning_rates import base_rate
from branchtrack.training.state import model_repr, snapshots
from branchtrack.training.trainer.protocol import BranchingTrainer

#: What only says where a schedule is, or repeats the rates of the optimizer's groups.
_PLACE = frozenset(
    """last_epoch base_lrs max_lrs _last_lr _init_lrs _step_count _is_initial optimizer
    _get_lr_called_within_step best num_bad_epochs num_good_epochs
    cooldown_counter warmup_counter""".split()
)
#: Prefixes of the names under which an optimizer's and a scheduler's values are recorded.
MADE_LATE = ("optimizer", "scheduler")
#: What a schedule makes of a group's base rate.
_RATES = frozenset(("lr", "initial_lr", "max_lr", "min_lr", "swa_lr"))
_MOST = 64


def of_model(model: torch.nn.Module) -> dict[str, Any]:
    """Return its class, modules, any configuration, dropout and what of it does not train."""
    facts: dict[str, Any] = {"model": type(model).__name__, "frozen": modules.read_frozen(model)}
    if hasattr(getattr(model, "config", None), "to_json_string"):
        config = snapshots.model_config(model)
        facts |= {f"model.config.{name}": value for name, value in config.items()}
    elif dropouts := modules.dropouts(model):
        facts["dropout"] = modules.read_dropout(list(dropouts.values()))
    facts |= model_repr.of(model)
    return {name: value for name, value in facts.items() if value is not None}


def of_data(trainer: BranchingTrainer) -> dict[str, Any]:
    """Return the lengths of its datasets and the name of what makes batches."""
    held_out = trainer.eval_dataset
    if isinstance(held_out, dict):
        sizes: Any = {name: _length(dataset) for name, dataset in held_out.items()}
    else:
        sizes = _length(held_out)
    collator = trainer.data_collator
    return {
        "dataset_length": _length(trainer.train_dataset),
        "eval_dataset_length": sizes,
        "data_collator": getattr(collator, "__name__", type(collator).__name__),
        **declared_values(trainer.train_dataset),
    }


def of_optimizer(trainer: BranchingTrainer) -> dict[str, Any]:
    """Return the values of an optimizer and a scheduler that are not the Trainer's own."""
    facts: dict[str, Any] = {}
    create: Any = type(trainer).create_optimizer
    if trainer._bt_gives_optimizer or create is not Trainer.create_optimizer:
        optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        groups = optimizer.param_groups
        facts["optimizer"] = type(optimizer).__name__
        for name in sorted(set().union(*groups) - _RATES - {"params"}):
            facts[f"optimizer.{name}"] = _one([_plain(group.get(name)) for group in groups])
        if all(group.get("lr") is not None for group in groups):
            facts["optimizer.lr"] = _one([base_rate(group) for group in groups])
    scheduler = trainer.lr_scheduler
    if scheduler is not None and not trainer._created_lr_scheduler:
        facts["scheduler"] = type(scheduler).__name__
        state = scheduler.state_dict()
        facts |= {f"scheduler.{n}": _plain(v) for n, v in state.items() if n not in _PLACE}
    return {name: value for name, value in facts.items() if value is not None}


def _one(values: list[Any]) -> Any:
    """Return the value of all groups if they have the same, else each of theirs."""
    return values[0] if all(value == values[0] for value in values) else values


def _length(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; None if it holds nothing that could be compared."""
    if isinstance(value, torch.Tensor):
        return _plain(value.tolist()) if value.numel() <= _MOST else None
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(element) for name, element in value.items() if name not in _PLACE}
    if isinstance(value, (list, tuple)):
        return [_plain(element) for element in value]
    return value if isinstance(value, (bool, int, str)) else None
