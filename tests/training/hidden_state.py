"""Trainers whose scripts keep state outside of the model, the optimizer and the schedule."""

from __future__ import annotations

import copy
import random
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from branchtrack import make_branching
from tests.training import tiny


class WithTeacher(Trainer):
    """Adds a distance to an averaged teacher, written as most scripts write it."""

    teacher: torch.nn.Module | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.teacher = copy.deepcopy(self.model)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The loss beside how far the teacher's embeddings are; the teacher follows."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        with torch.no_grad():
            for own, other in zip(self.teacher.parameters(), model.parameters(), strict=True):
                own.data.mul_(0.9).add_(other.data, alpha=0.1)
        distance = (self.teacher.lm_head.weight.detach() - model.lm_head.weight).pow(2).sum()
        return loss + 10 * distance


class WithWeights(Trainer):
    """Scales its loss by a tensor and a number that move, and by a generator of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.weights, self.heat = torch.ones(2), 1.0
        self.noise = random.Random(7)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The scaled loss."""
        self.weights = self.weights * 0.9 + 0.05
        self.heat *= 0.97
        return (
            super().compute_loss(*args, **kwargs)
            * self.weights[0]
            * (self.heat + 0.1 * self.noise.random())
        )


class WithBuffer(Trainer):
    """Trains three updates on one batch that it keeps, as generations are used several times."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffered: list[dict[str, torch.Tensor]] | None = None
        self.uses = 0

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The loss of the batch that is kept."""
        if self.uses % 3 == 0:
            self.buffered = [dict(inputs)]
        self.uses += 1
        assert self.buffered is not None
        return super().compute_loss(model, self.buffered[0], *args, **kwargs)


class Moving(TrainerCallback):
    """A callback that moves what the model multiplies its embeddings with."""

    def __init__(self) -> None:
        self.factor = 1.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Scale the embeddings' noise by what the callback itself knows alone."""
        self.factor *= 1.1
        torch.manual_seed(int(self.factor * 1000))


class Warming(torch.nn.Module):
    """A model that counts its own forward passes in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.passes = tiny.gpt(), 0

    def forward(self, input_ids: Any = None, labels: Any = None) -> Any:
        """The inner model's loss, warmed up."""
        self.passes += 1
        output = self.inner(input_ids=input_ids, labels=labels)
        return {"loss": output.loss * min(1.0, self.passes / 50), "logits": output.logits}


TEACHER = make_branching(WithTeacher)
WEIGHTS = make_branching(WithWeights)
BUFFER = make_branching(WithBuffer)
KINDS: dict[str, dict[str, Any]] = {
    "an averaged teacher": {"kind": TEACHER},
    "weights, numbers and a generator": {"kind": WEIGHTS},
    "a batch that is used again": {"kind": BUFFER},
    "a callback": {"callbacks": lambda: [Moving()]},
    "a number of the model's": {"model": Warming, "data": tiny.Sentences()},
}
