"""Whether an update differed from the one that the old value of a setting would have given.

What an optimizer holds may be read back and still change nothing: a group that does not train, a
change too small for the parameters' dtype. So a sample of parameters is kept before the update,
updated again on the side with the old value, and compared bit by bit.
"""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from branchtrack.training import rng
from branchtrack.training.settings.live import Live

logger = logging.getLogger("branchtrack")

#: The options of each group of each optimizer, by the optimizer's name.
Options = dict[str, list[dict[str, Any]]]

#: What no update reads: the parameters themselves, and what schedules keep in the groups.
_APART = frozenset(
    "params param_names initial_lr max_lr min_lr max_momentum base_momentum swa_lr".split()
)
#: Elements of parameters in a sample, and tensors of each group: large models are not copied for
#: this, nor deep ones stepped three more times.
_MOST, _TENSORS = 1 << 21, 16
_GOLDEN = (5**0.5 - 1) / 2
_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
#: What could be changed in place, so that a step on the side would reach the real optimizer.
_SHARED = (torch.Tensor, torch.nn.Module, torch.optim.Optimizer, list, dict, set)
_PLAIN = frozenset(("defaults", "state", "param_groups"))


@dataclass(frozen=True)
class Outcome:
    """``changed`` of ``elements`` parameters differ from the result with the old value.

    ``remembers``: the optimizer keeps something different for later updates.
    """

    changed: int
    elements: int
    remembers: bool = False

    @property
    def is_seen(self) -> bool:
        """Whether the update differed."""
        return self.changed > 0 or self.remembers

    def as_dict(self) -> dict[str, int]:
        """Return the JSON form."""
        return {"changed": self.changed, "elements": self.elements}


def options(live: Live) -> Options:
    """Return a copy of the options of every optimizer's groups."""
    return {
        name: [
            {key: copied(value) for key, value in group.items() if key not in _APART}
            for group in optimizer_objects.groups
        ]
        for name, optimizer_objects in live.parts.items()
    }


def changed_groups(before: Options, after: Options) -> dict[str, list[int]]:
    """Return the groups of which an option differs, by optimizer, if there are any."""
    changed = {
        name: [i for i, group in enumerate(after[name]) if not _same(group, before[name][i])]
        for name in after
    }
    return {name: groups for name, groups in changed.items() if groups}


class Sample:
    """Parameters of one optimizer as they are before its step, with gradients and state."""

    def __init__(self, optimizer: Any, groups: Sequence[int]) -> None:
        self._optimizer = optimizer
        for name, value in optimizer.__dict__.items():
            if name not in _PLAIN and not name.endswith("_hooks") and isinstance(value, _SHARED):
                raise ValueError(f"{type(optimizer).__name__} keeps {name} beside its state")
        self._kept: list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]] = []
        room = _MOST
        for group_index in groups:
            parameters = optimizer.param_groups[group_index]["params"]
            trained = [(p, p.grad) for p in parameters if p.grad is not None]
            for parameter, grad in (trained[index] for index in _spread(len(trained))):
                # At least one, however large: no parameters would allow no conclusion.
                if parameter.numel() > room and self._kept:
                    continue
                room -= parameter.numel()
                state = {k: copied(v) for k, v in optimizer.state.get(parameter, {}).items()}
                self._kept.append(
                    (
                        group_index,
                        parameter,
                        parameter.detach().clone(),
                        grad.detach().clone(),
                        state,
                    )
                )

    def compare(self, alternatives: Sequence[Sequence[Mapping[str, Any]]]) -> list[Outcome | None]:
        """Return how the step made since differs from one with other options.

        ``alternatives`` are the options of every group, for each comparison. None where a step on
        the side does not reproduce the real one, so that nothing can be concluded.
        """
        if not self._kept:
            return [Outcome(0, 0) for _ in alternatives]
        groups = self._optimizer.param_groups
        now = [{k: v for k, v in group.items() if k not in _APART} for group in groups]
        try:
            with rng.preserved():
                parameters = [parameter for _, parameter, *_ in self._kept]
                real = [parameter.detach() for parameter in parameters]
                states = [
                    dict(self._optimizer.state.get(parameter, {})) for parameter in parameters
                ]
                if _differing(real, (same := self._step(now))[0]) or not _same(states, same[1]):
                    return [None for _ in alternatives]
                count = sum(alternative.numel() for alternative in real)
                others = [self._step(alternative) for alternative in alternatives]
                return [
                    Outcome(_differing(real, values), count, not _same(states, kept_for_later))
                    for values, kept_for_later in others
                ]
        except Exception:
            # An optimizer that cannot be stepped on the side; the value read back has to suffice.
            logger.debug("branchtrack cannot compare updates", exc_info=True)
            return [None for _ in alternatives]

    def _step(
        self, group_options: Sequence[Mapping[str, Any]]
    ) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
        """Return the parameters after a side step with these options, and the state of each."""
        kind = type(self._optimizer)
        twin = object.__new__(kind)
        # An instance's own `step` is a scheduler's, which counts it; hooks are the loop's.
        attributes = {k: v for k, v in self._optimizer.__dict__.items() if k != "step"}
        twin.__dict__.update(attributes)
        twin.__dict__.update({name: OrderedDict() for name in _HOOKS})
        twin.state, parameters = defaultdict(dict), []
        twin.param_groups = [
            {**group, **{k: copied(v) for k, v in overrides.items()}, "params": []}
            for group, overrides in zip(self._optimizer.param_groups, group_options, strict=True)
        ]
        for group_index, _, value, grad, state in self._kept:
            parameter = torch.nn.Parameter(value.clone())
            parameter.grad = grad.clone()
            if state:
                twin.state[parameter] = {k: copied(v) for k, v in state.items()}
            twin.param_groups[group_index]["params"].append(parameter)
            parameters.append(parameter)
        step = kind.step
        # The outer one runs hooks for all optimizers of the process.
        getattr(step, "__wrapped__", step)(twin) if hasattr(step, "hooked") else step(twin)
        values = [parameter.detach() for parameter in parameters]
        return values, [dict(twin.state.get(parameter, {})) for parameter in parameters]


def _spread(count: int) -> Sequence[int]:
    """Choose which of so many tensors to look at: some of each kind, however layers repeat."""
    if count <= _TENSORS:
        return range(count)
    return sorted({int(count * (number * _GOLDEN % 1)) for number in range(_TENSORS)})


def replaced(now: Options, before: Options, after: Options) -> Options:
    """Return the current options with what one change made of them reverted."""
    return {
        name: [
            {**current, **{k: v for k, v in old.items() if not _same(v, new.get(k))}}
            for current, old, new in zip(now[name], before[name], after[name], strict=True)
        ]
        for name in now
    }


def _differing(tensors: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> int:
    return sum(
        int((torch.ne(a, b) & ~(torch.isnan(a) & torch.isnan(b))).sum())
        for a, b in zip(tensors, others, strict=True)
    )


def copied(value: Any) -> Any:
    """Return a copy that shares no memory: schedules fill the tensors of a group in place."""
    return value.detach().clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_same(value[k], other[k]) for k in value)
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(value, other)
    return bool(type(value) is type(other) and value == other)
