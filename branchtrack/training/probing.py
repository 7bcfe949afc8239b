"""Whether an update came out otherwise than it would have with the old value of a setting.

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
from branchtrack.training.live import Live

logger = logging.getLogger("branchtrack")

#: The options of each group of each optimizer, by the optimizer's name.
Options = dict[str, list[dict[str, Any]]]

#: What no update reads: the parameters themselves, and what schedules keep beside them.
_APART = frozenset(
    "params param_names initial_lr max_lr min_lr max_momentum base_momentum swa_lr".split()
)
#: Elements of parameters in a sample: large models are not copied for this.
_MOST = 1 << 21
_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
#: What could be changed in place, so that a step on the side would reach the real optimizer.
_SHARED = (torch.Tensor, torch.nn.Module, torch.optim.Optimizer, list, dict, set)
_PLAIN = frozenset(("defaults", "state", "param_groups"))


@dataclass(frozen=True)
class Outcome:
    """``changed`` of ``elements`` parameters came out otherwise than with the old value.

    ``remembers``: the optimizer keeps something else for later updates.
    """

    changed: int
    elements: int
    remembers: bool = False

    @property
    def is_seen(self) -> bool:
        """Whether the update was another one."""
        return self.changed > 0 or self.remembers

    def as_dict(self) -> dict[str, int]:
        """The JSON form."""
        return {"changed": self.changed, "elements": self.elements}


def options(live: Live) -> Options:
    """What the groups of every optimizer are told, copied."""
    return {
        name: [
            {key: copied(value) for key, value in group.items() if key not in _APART}
            for group in part.groups
        ]
        for name, part in live.parts.items()
    }


def changed_groups(before: Options, after: Options) -> dict[str, list[int]]:
    """The groups of which an option differs, by optimizer; those without any are left out."""
    found = {
        name: [i for i, one in enumerate(after[name]) if not _same(one, before[name][i])]
        for name in after
    }
    return {name: groups for name, groups in found.items() if groups}


class Sample:
    """Parameters of one optimizer as they are before its step, with gradients and state."""

    def __init__(self, optimizer: Any, groups: Sequence[int]) -> None:
        self._optimizer = optimizer
        for name, value in optimizer.__dict__.items():
            if name not in _PLAIN and not name.endswith("_hooks") and isinstance(value, _SHARED):
                raise ValueError(f"{type(optimizer).__name__} keeps {name} beside its state")
        self._kept: list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]] = []
        room = _MOST
        for place in groups:
            for parameter in optimizer.param_groups[place]["params"]:
                grad = parameter.grad
                # One at least, however large: nothing can be said of none.
                if grad is None or (parameter.numel() > room and self._kept):
                    continue
                room -= parameter.numel()
                state = {k: copied(v) for k, v in optimizer.state.get(parameter, {}).items()}
                self._kept.append(
                    (place, parameter, parameter.detach().clone(), grad.detach().clone(), state)
                )

    def compare(self, alternatives: Sequence[Sequence[Mapping[str, Any]]]) -> list[Outcome | None]:
        """What the step that was made since differs in from one with other options.

        ``alternatives`` are the options of every group, for each comparison. None where a step on
        the side does not come to what the real one did, so that nothing can be concluded.
        """
        if not self._kept:
            return [Outcome(0, 0) for _ in alternatives]
        groups = self._optimizer.param_groups
        now = [{k: v for k, v in group.items() if k not in _APART} for group in groups]
        try:
            with rng.preserved():
                kept = [parameter for _, parameter, *_ in self._kept]
                real = [parameter.detach() for parameter in kept]
                states = [dict(self._optimizer.state.get(parameter, {})) for parameter in kept]
                if _differing(real, (same := self._step(now))[0]) or not _same(states, same[1]):
                    return [None for _ in alternatives]
                count = sum(one.numel() for one in real)
                others = [self._step(one) for one in alternatives]
                return [
                    Outcome(_differing(real, values), count, not _same(states, kept_for_later))
                    for values, kept_for_later in others
                ]
        except Exception:
            # An optimizer that cannot be stepped on the side; what was read back has to do.
            logger.debug("branchtrack cannot compare updates", exc_info=True)
            return [None for _ in alternatives]

    def _step(
        self, told: Sequence[Mapping[str, Any]]
    ) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
        """The parameters after a step on the side with these options, and the state of each."""
        kind = type(self._optimizer)
        twin = object.__new__(kind)
        # An instance's own `step` is a scheduler's, which counts it; hooks are the loop's.
        given = {k: v for k, v in self._optimizer.__dict__.items() if k != "step"}
        twin.__dict__.update(given)
        twin.__dict__.update({name: OrderedDict() for name in _HOOKS})
        twin.state, made = defaultdict(dict), []
        twin.param_groups = [
            {**group, **{k: copied(v) for k, v in one.items()}, "params": []}
            for group, one in zip(self._optimizer.param_groups, told, strict=True)
        ]
        for place, _, value, grad, state in self._kept:
            parameter = torch.nn.Parameter(value.clone())
            parameter.grad = grad.clone()
            if state:
                twin.state[parameter] = {k: copied(v) for k, v in state.items()}
            twin.param_groups[place]["params"].append(parameter)
            made.append(parameter)
        step = kind.step
        # Around it are hooks for all optimizers of the process.
        getattr(step, "__wrapped__", step)(twin) if hasattr(step, "hooked") else step(twin)
        values = [parameter.detach() for parameter in made]
        return values, [dict(twin.state.get(parameter, {})) for parameter in made]


def replaced(now: Options, before: Options, after: Options) -> Options:
    """The options in force, with what one change made of them taken back."""
    return {
        name: [
            {**one, **{k: v for k, v in old.items() if not _same(v, new.get(k))}}
            for one, old, new in zip(now[name], before[name], after[name], strict=True)
        ]
        for name in now
    }


def _differing(found: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> int:
    return sum(
        int((torch.ne(a, b) & ~(torch.isnan(a) & torch.isnan(b))).sum())
        for a, b in zip(found, others, strict=True)
    )


def copied(value: Any) -> Any:
    """A value of a group that shares no memory with it: schedules fill tensors in place."""
    return value.detach().clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return bool(type(one) is type(other) and one == other)
