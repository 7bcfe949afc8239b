"""Trainings by several processes, as scripts; run by torchrun (see `several`).

    torchrun -m tests.training.ranked_scripts exact KIND CASE FOLDER

``exact`` trains with a node after each update, then again from each of these nodes in the same
processes, and prints which of them ended in other bits. ``live`` trains until it is stopped; CASE
says how rank 1 behaves:

    obeys      as rank 0
    resets     sets the learning rate back before each update
    raises     raises an error at update 5
    leaves     ends without a word at update 5
    measures   evaluates alone, for long, at update 5
    ends       ends its loop at update 5
    stays      as rank 0, which ends its loop at update 7
    differs    declares another value of a setting
    breaks     raises an error in each evaluation, in which rank 0 waits for it
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

import branchtrack
from branchtrack import config
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from tests.training import tiny
from tests.training.loops import Points

STEPS = 7


class Net(torch.nn.Module):
    """Layers of which some cannot be divided evenly, with dropout and batch norm between."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        self.first = torch.nn.Linear(6, 9)
        self.norm = torch.nn.BatchNorm1d(9) if norm else torch.nn.LayerNorm(9)
        self.drop = torch.nn.Dropout(0.2)
        self.last = torch.nn.Linear(9, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return two logits of each row."""
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


def wrapped(kind: str, case: str) -> torch.nn.Module:
    """Return a model that two processes train together."""
    torch.manual_seed(1)
    # Batch norm keeps statistics of each process; sharded models cannot have it.
    model = Net(norm=kind == "ddp" and case != "alike")
    if kind == "ddp":
        return DistributedDataParallel(model)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16) if case == "bf16" else None
    how = {} if policy is None else {"mp_policy": policy}
    fully_shard(model.first, **how)
    fully_shard(model, **how)
    return model


def train_loop(kind: str, case: str, **given: Any) -> None:
    """Train once with a loop of its own; each process draws dropout masks of its own."""
    accumulation = 2 if case == "accumulation" else 1
    model = wrapped(kind, case)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.7)
    data = Points("numpy", 44)
    loader = DataLoader(
        data, 4, sampler=DistributedSampler(data), num_workers=2 if case == "workers" else 0
    )

    def evaluate() -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            # Sharded layers are gathered: every process has to take part.
            return {"eval_loss": float(model(torch.randn(8, 6)).square().mean())}

    run = branchtrack.start(
        "ranked",
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        data=loader,
        evaluate=evaluate,
        max_steps=STEPS,
        save_steps=1,
        seed=3,
        **given,
    )
    micro = 0
    for x, y in run.batches():
        micro += 1
        ends = micro % accumulation == 0
        with _half(kind, case), _unsynced(kind, model, ends):
            loss = torch.nn.functional.cross_entropy(model(x), y) / accumulation
            loss.backward()
        if not ends:
            continue
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        run.log(loss=loss.item())
        if case == "evaluation" and run.update % 2 == 0:
            run.evaluate()
        if run.step():
            break
    run.finish()


def _half(kind: str, case: str) -> Any:
    is_half = case == "bf16" and kind == "ddp"
    return torch.autocast("cpu", torch.bfloat16) if is_half else contextlib.nullcontext()


def _unsynced(kind: str, model: Any, ends: bool) -> Any:
    if kind == "fsdp":
        model.set_requires_gradient_sync(ends)
    return contextlib.nullcontext() if ends or kind == "fsdp" else model.no_sync()


def train_trainer(case: str, folder: Path, **given: Any) -> None:
    """Train once with transformers' Trainer."""
    arguments: dict[str, Any] = {
        "accumulation": {"gradient_accumulation_steps": 2},
        "workers": {"dataloader_num_workers": 2},
        "evaluation": {"eval_strategy": "steps", "eval_steps": 2},
        "bf16": {"bf16": True},
    }.get(case, {})
    trainer = tiny.trainer(
        tiny.BranchingTrainer,
        folder,
        data=tiny.Sentences(42),
        max_steps=STEPS,
        save_steps=1,
        ddp_find_unused_parameters=False,
        **arguments,
    )
    trainer.train(**given)


def train(kind: str, case: str, folder: Path) -> None:
    """Train once with a loop of its own, as this process was started for."""
    if kind == "trainer":
        train_trainer(case, folder)
    else:
        train_loop(kind, case)


def exact(kind: str, case: str, folder: Path) -> None:
    """Train, train again from every node, and print the steps of those that ended elsewhere."""
    if kind == "trainer":
        train_trainer(case, folder)
    else:
        train_loop(kind, case)
    dist.barrier()
    database = Database(config.load().database_url)
    with database.read() as connection:
        run = runs.get_run(connection, nodes.get(connection, nodes.list_ids(connection)[0]).run_id)
        made = nodes.list_of_run(connection, run.id)
    last = max(made, key=lambda node: node.step)
    starts = [node for node in reversed(made) if node.step < last.step]
    dist.barrier()
    differing = []
    for node in starts:
        branch = f"from-{node.step}"
        if kind == "trainer":
            train_trainer(case, folder, resume_from_node=node.id, branch=branch)
        else:
            train_loop(kind, case, resume=node.id, branch=branch)
        dist.barrier()
        with database.read() as connection:
            end = nodes.find(connection, f"{run.name}/{branch}")
            fork = nodes.children(connection, node.id)[-1]
        state = (fork.compared or {}).get("state")
        if (end.step, end.state_digest) != (last.step, last.state_digest) or state != "equal":
            differing.append([node.step, end.step, end.state_digest[:8], state])
    if dist.get_rank() == 0:
        print("RESULT", json.dumps({"nodes": len(starts), "differing": differing}), flush=True)


def live(kind: str, case: str, folder: Path) -> None:
    """Train until somebody asks to stop, slowly enough to be asked."""
    del folder
    model, rank = wrapped(kind, case), dist.get_rank()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    data = Points("nothing", 44)
    loader = DataLoader(data, 4, sampler=DistributedSampler(data))
    actions = {"count": lambda: 1 // (1 - rank)}

    def evaluate() -> dict[str, float]:
        if rank == 1 and case == "breaks":
            raise RuntimeError("rank 1 has nothing to evaluate")
        dist.barrier()
        return {"eval_loss": 1.0}

    run = branchtrack.start(
        "ranked",
        model=model,
        optimizer=optimizer,
        data=loader,
        actions=actions,
        evaluate=evaluate,
        settings={"own": float(rank if case == "differs" else 0)},
        save_steps=5,
        max_steps=10_000,
    )
    for x, y in run.batches():
        if rank == 1 and run.update == 5:
            _misbehave(case)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if rank == 1 and case == "resets":
            optimizer.param_groups[0]["lr"] = 0.05
        optimizer.step()
        optimizer.zero_grad()
        run.log(loss=loss.item())
        run.log(own_loss=loss.item(), rank="all")
        time.sleep(0.02)
        if run.step() or (case, rank, run.step_number) in (("ends", 1, 5), ("stays", 0, 7)):
            break
    run.finish()


def _misbehave(case: str) -> None:
    if case == "raises":
        raise RuntimeError("the data of rank 1 is broken")
    if case == "leaves":
        sys.exit(0)
    if case == "measures":
        time.sleep(3)


def main(arguments: list[str]) -> None:
    """Do as the arguments say."""
    how, kind, case, folder = arguments[0], arguments[1], arguments[2], Path(arguments[3])
    os.environ.setdefault("BRANCHTRACK_HOME", str(folder / "home"))
    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())
    {"exact": exact, "live": live, "train": train}[how](kind, case, folder)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
