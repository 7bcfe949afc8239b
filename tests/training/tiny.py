"""Trainings that take about a tenth of a second: 24 samples, batches of 4, 14 updates."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from branchtrack import make_branching

SAMPLES, BATCH, STEPS = 24, 4, 14
PER_EPOCH = SAMPLES // BATCH

# Exactness is a promise for each number of threads; see `core.exactness.TESTED_THREADS`.
torch.set_num_threads(int(os.environ.get("BRANCHTRACK_TEST_THREADS", "1")))
# accelerate collects garbage as each training starts; what is loaded by now is no garbage.
gc.collect()
gc.freeze()

BranchingTrainer = make_branching(Trainer)


class Sentences(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Random tokens, the same ones every time for a ``seed``, with their labels."""

    def __init__(self, count: int = SAMPLES, seed: int = 0) -> None:
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(self.seed + index)
        tokens = torch.randint(0, 50, (16,), generator=generator)
        return {"input_ids": tokens, "labels": tokens}


class Vectors(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Random vectors with a class each."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        features = torch.randn(8, generator=generator)
        return {"x": features, "labels": (features.sum() > 0).long()}


class Normed(torch.nn.Module):
    """Not of transformers': batch norm, a buffer that no checkpoint of torch's holds, tied weights.

    Every forward pass in training changes the buffers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.second = torch.nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.drop = torch.nn.Dropout(0.2)
        self.head = torch.nn.Linear(8, 2)
        self.register_buffer("noise", torch.zeros(8), persistent=False)

    def forward(
        self, x: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Cross entropy and logits."""
        if self.training:
            self.noise.mul_(0.5).add_(x.detach().mean(0))
        hidden = self.norm(torch.relu(self.first(x)) + self.noise)
        logits = self.head(self.drop(self.second(hidden)))
        found = {"logits": logits}
        if labels is not None:
            found = {"loss": torch.nn.functional.cross_entropy(logits, labels), **found}
        return found


def gpt(seed: int = 1, width: int = 16) -> GPT2LMHeadModel:
    """A GPT-2 with dropout everywhere and its embeddings tied."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=50,
            n_positions=16,
            n_embd=width,
            n_layer=1,
            n_head=2,
            resid_pdrop=0.2,
            embd_pdrop=0.2,
            attn_pdrop=0.2,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def normed(seed: int = 1) -> Normed:
    """The model that is not of transformers'."""
    torch.manual_seed(seed)
    return Normed()


def arguments(folder: Path, **changed: Any) -> TrainingArguments:
    """Arguments for a training that writes nothing but nodes."""
    given: dict[str, Any] = {
        "output_dir": str(folder / "output"),
        "run_name": "tiny",
        "max_steps": STEPS,
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": 8,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "logging_steps": 1,
        "save_steps": 2,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }
    return TrainingArguments(**{**given, **changed})


def trainer(
    kind: type[Any],
    folder: Path,
    *,
    model: Callable[[], torch.nn.Module] = gpt,
    optimizers: Callable[[torch.nn.Module], tuple[Any, Any]] | None = None,
    callbacks: Callable[[], list[Any]] = list,
    data: Any = None,
    held_out: Any = None,
    collator: Any = None,
    evaluated: bool = True,
    **changed: Any,
) -> Any:
    """A trainer, freshly made as a script that is started makes it.

    ``model``, ``optimizers`` and ``callbacks`` make what their names say, anew each time.
    """
    made = model()
    dataset = data or (Sentences() if isinstance(made, GPT2LMHeadModel) else Vectors())
    return kind(
        made,
        arguments(folder, **changed),
        data_collator=collator,
        train_dataset=dataset,
        eval_dataset=(held_out or dataset) if evaluated else None,
        optimizers=optimizers(made) if optimizers else (None, None),
        callbacks=callbacks(),
    )


def weights(found: Any) -> dict[str, torch.Tensor]:
    """A trainer's model as copies by name."""
    return {name: value.clone() for name, value in found.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two models are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
