"""The content and the result of the first update after a node: its batches, losses and weights.

Two processes that continue from one state reach the same bits of all, or they train something else.
The weights show what a loss cannot: state of an optimizer, or an optimizer that was not restored. A
loss is anything `backward` is called on, so a loop owned by any library is seen alike. It knows no
session and no database.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from branchtrack.core.records import Node
from branchtrack.training import contents

logger = logging.getLogger("branchtrack")

#: Losses of one update that are kept; an optimizer that searches may request any number.
_MOST_LOSSES = 64
#: Elements kept of a loss that is not a scalar.
_MOST_ELEMENTS = 16
#: Levels of containers and objects within a batch that are inspected.
_DEPTH = 8
#: Elements of a parameter that are compared: an optimizer's mistake shows in all of them.
_SAMPLED = 1_024


class Witness:
    """Watches one update, from the control point before it until `close`.

    ``nodes`` holds the node that it is the first update after, once that is durable; those of an
    ``earlier`` witness count as well.
    """

    def __init__(self, nodes: list[Node], earlier: Witness | None = None) -> None:
        self._made: list[list[Node]] = [*(earlier._made if earlier is not None else ()), nodes]
        self._digest, self._batches = hashlib.sha256(), 0
        self._losses: list[torch.Tensor] = []
        self._comparable: int | None = None
        self._original = torch.autograd.backward
        # `Tensor.backward` looks it up by this name in every case.
        torch.autograd.backward = self._backward

    @property
    def nodes(self) -> list[Node]:
        """The durable nodes that the update is the first after."""
        return [node for group in self._made for node in group]

    def restart(self) -> None:
        """Forget what was seen: the loop only starts here."""
        self._digest, self._batches = hashlib.sha256(), 0
        self._losses, self._comparable = [], None

    def take(self, batches: Iterable[Any]) -> None:
        """Note batches that are about to be trained on."""
        try:
            for batch in batches:
                self._batches += 1
                contents.feed(self._digest, batch, _DEPTH)
        except Exception:
            # Watching serves only the record; no update may suffer from it.
            logger.warning("branchtrack could not read a batch", exc_info=True)

    def before_step(self, *, closure: bool = False) -> None:
        """Note that an optimizer is about to step: later losses also depend on its settings.

        With a closure, in which Lightning for instance has its loss, not yet the first one there.
        """
        if self._comparable is None:
            self._comparable = len(self._losses) + closure

    def detach(self) -> None:
        """Stop watching."""
        if torch.autograd.backward == self._backward:
            torch.autograd.backward = self._original

    def close(
        self,
        step: int,
        numbers: Mapping[str, Any] | None = None,
        model: torch.nn.Module | None = None,
    ) -> dict[str, Any]:
        """End watching, and return the content of update ``step`` as JSON values.

        ``batch`` is a SHA-256 of all its batches in order (None: no batch was seen), ``losses`` the
        bits of each loss as hexadecimal floats, and ``before_step`` how many of them there were
        when the first optimizer used its settings. ``numbers`` are the counters of the script's
        objects after the update, and ``weights`` is the `weights_digest` of the model then.
        """
        self.detach()
        losses, comparable = [_bits(loss) for loss in self._losses], self._comparable
        return {
            "step": step,
            "batch": self._digest.hexdigest() if self._batches else None,
            "losses": losses,
            "before_step": min(len(losses), len(losses) if comparable is None else comparable),
            "numbers": dict(numbers or {}),
            "weights": None if model is None else weights_digest(model),
        }

    def _backward(self, tensors: Any, *args: Any, **kwargs: Any) -> None:
        roots = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
        for root in roots[: _MOST_LOSSES - len(self._losses)]:
            if isinstance(root, torch.Tensor):
                self._losses.append(root.detach().reshape(-1)[:_MOST_ELEMENTS].clone())
        self._original(roots, *args, **kwargs)


def weights_digest(model: torch.nn.Module) -> str | None:
    """Return the SHA-256 of some elements of each parameter that is trained.

    None if kernels may add in a different order each time: on a GPU, unless torch's deterministic
    algorithms are enabled.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    on_cpu = all(parameter.device.type == "cpu" for parameter in trained)
    if not (on_cpu or torch.are_deterministic_algorithms_enabled()):
        return None
    digest = hashlib.sha256()
    try:
        # One copy for each run of parameters of one dtype: a call for each of them costs more.
        for _dtype, run in itertools.groupby(trained, lambda parameter: parameter.dtype):
            with torch.no_grad():
                samples = torch.cat([_sampled(parameter).cpu() for parameter in run])
            digest.update(samples.view(torch.uint8).numpy().data if samples.numel() else b"")
    except Exception:
        # Parameters of a kind that cannot be read in parts: no update may suffer from it.
        return None
    return digest.hexdigest()


def _sampled(parameter: torch.Tensor) -> torch.Tensor:
    size = parameter.numel()
    step = max(1, size // _SAMPLED)
    if parameter.is_contiguous():
        # One operation instead of two, for each parameter of the model.
        return parameter.as_strided((-(-size // step),), (step,))
    return parameter.reshape(-1)[::step]


def _bits(loss: torch.Tensor) -> Any:
    values = [float(value).hex() for value in loss.tolist()]
    return values[0] if len(values) == 1 else values


def compare(
    stored: Mapping[str, Any] | None, seen: Mapping[str, Any], affects: Affects
) -> dict[str, Any]:
    """Compare the first update of a resume with the record of the node's continuation.

    Returns:
        ``state``: ``equal``, ``explained`` (a declared change affects what differs), ``differs``
        or ``unknown`` (there is no continuation of the node, or nothing of it can be compared);
        ``batch``, ``loss`` and ``weights``, the same of each; ``differences``: of each that
        differs ``name expected found``; and ``step``.
    """
    parts = {"batch": "unknown", "loss": "unknown", "weights": "unknown"}
    differences: list[dict[str, Any]] = []
    if stored is not None:
        pairs = {"batch": (stored["batch"], seen["batch"]), "loss": _losses(stored, seen, affects)}
        if not affects.step and stored.get("weights") and seen.get("weights"):
            pairs["weights"] = stored["weights"], seen["weights"]
        for name, (expected, actual) in pairs.items():
            affected = affects.batch if name == "batch" else affects.loss
            if not expected and not actual:
                continue
            parts[name] = "equal" if expected == actual else "explained" if affected else "differs"
            if parts[name] == "differs":
                differences.append({"name": name, "expected": expected, "found": actual})
        if not affects.step:
            differences += _numbers(stored.get("numbers", {}), seen.get("numbers", {}))
    return {
        "state": "differs" if differences else _overall(parts),
        **parts,
        "differences": differences,
        "step": seen["step"],
    }


class Affects:
    """Which of batch, loss and the losses after the first optimizer's step a change may alter."""

    def __init__(self, declared: Iterable[str], options: Iterable[str], *, fresh: bool) -> None:
        """``options``: the names in the optimizers' groups. ``fresh``: only weights were loaded."""
        names, options = list(declared), set(options)
        kinds = [_kind(name, options) for name in names]
        self.batch = fresh or "batch" in kinds
        self.loss = self.batch or "loss" in kinds
        self.step = self.loss or "step" in kinds


#: Settings that determine which samples make the first batch, or how they are made.
_OF_BATCH = frozenset(
    "batch_size gradient_accumulation_steps world_size seed reshuffle accept".split()
)
#: Settings that no forward pass before the next update uses.
_OF_STEP = frozenset(
    """lr weight_decay betas eps momentum max_grad_norm lr_scheduler_type lr_scheduler_kwargs
    warmup_steps max_steps horizon schedule_from scheduler schedule_held logging_steps eval_steps
    save_steps frozen""".split()
)
#: Settings that no update uses.
_OF_NOTHING = frozenset(("stop_at",))


def _kind(name: str, options: set[str]) -> str:
    local_name = name.rpartition(".")[2]
    if name in _OF_NOTHING:
        return "nothing"
    if name in _OF_BATCH or name.startswith("data."):
        return "batch"
    return "step" if local_name in _OF_STEP or local_name in options else "loss"


def _losses(
    stored: Mapping[str, Any], seen: Mapping[str, Any], affects: Affects
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the losses to compare: those before the first step if its settings have changed."""
    if not affects.step or affects.loss:
        return stored["losses"], seen["losses"]
    ends = min(stored["before_step"], seen["before_step"])
    return stored["losses"][:ends], seen["losses"][:ends]


def _numbers(stored: Mapping[str, Any], seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the counters of the script's objects that differ."""
    return [
        {"name": name, "expected": stored.get(name), "found": seen.get(name)}
        for name in sorted(stored.keys() | seen.keys())
        if stored.get(name) != seen.get(name)
    ]


def _overall(parts: Mapping[str, str]) -> str:
    states = set(parts.values())
    for state in ("differs", "explained"):
        if state in states:
            return state
    # A batch alone does not prove the forward pass.
    return "equal" if parts["loss"] == "equal" else "unknown"
