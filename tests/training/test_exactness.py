"""Whatever node a training is resumed from, it ends in the same bits as if it had never stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Adafactor
from transformers.optimization import AdafactorSchedule

from tests.matrices import some
from tests.training import script, tiny
from tests.training.homes import Home

ROOT = Path(__file__).parent.parent.parent

LOGGED = ("loss", "grad_norm", "learning_rate", "eval_loss")
EVALUATED: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 4}
PLATEAU: dict[str, Any] = {
    "lr_scheduler_type": "reduce_lr_on_plateau",
    "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5, "threshold": 10.0},
    "metric_for_best_model": "eval_loss",
    "eval_strategy": "steps",
    "eval_steps": 2,
}


def momentum(model: torch.nn.Module) -> tuple[Any, Any]:
    """SGD with momentum, two groups, and no scheduler of its own."""
    body = [p for name, p in model.named_parameters() if not name.endswith("bias")]
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    groups = [{"params": body, "weight_decay": 0.1}, {"params": biases, "lr": 0.02}]
    return torch.optim.SGD(groups, lr=0.01, momentum=0.9), None


def chained(make: Callable[[torch.optim.Optimizer], Any]) -> Callable[[torch.nn.Module], Any]:
    """AdamW with one of torch's own schedulers."""

    def optimizers(model: torch.nn.Module) -> tuple[Any, Any]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        return optimizer, make(optimizer)

    return optimizers


def sequential(optimizer: torch.optim.Optimizer) -> Any:
    """A warm-up of three updates, then a cosine."""
    schedulers = torch.optim.lr_scheduler
    parts = [
        schedulers.LinearLR(optimizer, 0.1, total_iters=3),
        schedulers.CosineAnnealingLR(optimizer, 11),
    ]
    return schedulers.SequentialLR(optimizer, parts, milestones=[3])


def adafactor(model: torch.nn.Module) -> tuple[Any, Any]:
    """Adafactor that finds its own rate: its groups have none."""
    optimizer = Adafactor(model.parameters(), scale_parameter=True, relative_step=True, lr=None)
    return optimizer, AdafactorSchedule(optimizer)


class Drawn(tiny.BranchingTrainer):
    """Draws its orders from a generator of its own."""

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        generator = torch.Generator().manual_seed(3)
        return torch.utils.data.RandomSampler(self.train_dataset, generator=generator)


CASES: dict[str, dict[str, Any]] = {
    "every node": {**EVALUATED, "save_steps": 1},
    "some nodes": {**EVALUATED, "save_steps": 5},
    "window": {"save_steps": 1, "logging_steps": 3, "lr_scheduler_type": "linear"},
    "accumulation": {
        "gradient_accumulation_steps": 3,
        "per_device_train_batch_size": 3,
        "save_steps": 3,
        "max_steps": 7,
        "logging_steps": 2,
    },
    "short last batch": {"data": tiny.Sentences(22), "save_steps": 3},
    "epochs": {
        "max_steps": -1,
        "num_train_epochs": 2,
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "logging_strategy": "epoch",
    },
    "evaluation at the end of epochs": {
        "save_steps": 3,
        "eval_strategy": "epoch",
        "logging_strategy": "epoch",
    },
    "evaluation at the start": {"eval_on_start": True, "save_steps": 7, **EVALUATED},
    "constant with warm-up": {
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "save_steps": 3,
    },
    "plateau": {**PLATEAU, "save_steps": 5},
    "momentum": {"optimizers": momentum, "save_steps": 5},
    "Adafactor": {"optim": "adafactor", "save_steps": 5},
    "Adafactor without a rate": {"optimizers": adafactor, "save_steps": 7},
    "one cycle": {
        "save_steps": 5,
        "optimizers": chained(
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.02, total_steps=20)
        ),
    },
    "sequential": {"save_steps": 5, "optimizers": chained(sequential)},
    "buffers": {"model": tiny.normed, **EVALUATED, "save_steps": 5},
    "workers": {"dataloader_num_workers": 2, "save_steps": 5},
    "generator": {
        "kind": Drawn,
        "save_steps": 1,
        "accelerator_config": {"use_seedable_sampler": False},
    },
    "decay": {"weight_decay": 0.1, "max_grad_norm": 0.5, "save_steps": 7},
    "no clipping": {"max_grad_norm": 0.0, "save_steps": 7},
}


@pytest.mark.parametrize("case", some(CASES, "some nodes", "accumulation", "plateau", "buffers"))
def test_a_resumed_training_ends_in_the_same_state(case: str, home: Home) -> None:
    how = CASES[case]
    home.train(**how)
    final, whole = home.final(), home.segment().id
    # The root where every node is.
    resumed = home.nodes()[0 if how.get("save_steps") == 1 else 1 : -1]
    assert final.kind == "final" and resumed
    for node in resumed:
        launch = home.resume(node, **how)
        found = (home.final(launch).kind, home.final(launch).state_digest)
        assert found == ("final", final.state_digest), f"resumed at {node.step}"
        for metric in LOGGED:
            rest, mine = (
                {s: v for s, v in home.points(metric, segment).items() if s > node.step}
                for segment in (whole, launch.segment_id)
            )
            assert mine == rest, f"{metric} from {node.step}"


# With every change, trainings that were killed are gone on with in another process: see test_kill.
@pytest.mark.exhaustive
def test_a_new_process_goes_on_where_another_left_off(home: Home) -> None:
    """This process, whose hashes of strings are others."""
    environment = {**os.environ, **home.config.environment()}
    subprocess.run(
        [sys.executable, "-m", "tests.training.script", str(home.folder)],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"},
        check=True,
        timeout=120,
        capture_output=True,
    )
    entry = home.find_run().entry_point
    assert entry is not None and entry["env"]["PYTHONPATH"] == str(ROOT)
    assert entry["argv"][1:] == ["-m", "tests.training.script", str(home.folder)]
    launch = home.order(home.node(5))
    home.run(script.trainer(home.folder), launch)
    assert home.final(launch).kind == "final"
    assert home.final(launch).state_digest == home.final().state_digest
    whole, rest = (home.points("loss", s) for s in (home.segment().id, launch.segment_id))
    assert rest == {step: loss for step, loss in whole.items() if step > 5}
