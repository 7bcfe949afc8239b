"""A sharded model that several processes train: its nodes, resumed, and what they cost.

    torchrun --nproc-per-node 2 -m tests.benchmarks.gpu_ranks FOLDER SIZE

Each process takes a GPU of its own (NCCL), or none (gloo). A GPT is sharded by `fully_shard`; a
node in the middle is resumed in the same processes, and the digests of both ends are compared. SIZE
``1b`` is a billion parameters: with AdamW 12 GB of state, of which each rank writes its rows.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
from transformers import GPT2Config, GPT2LMHeadModel

import branchtrack
from branchtrack import config
from branchtrack.db import metrics, nodes
from branchtrack.db.engine import Database
from branchtrack.training.record.committer import COPY_MS
from tests.benchmarks.gpu import SIZES, Tokens

STEPS, MIDDLE = 6, 3
#: 24 layers of 1,792: 1.02 billion parameters with GPT-2's vocabulary.
BILLION = GPT2Config(n_embd=1792, n_layer=24, n_head=28, bos_token_id=0, eos_token_id=0)


def train(size: str, device: torch.device, **given: Any) -> None:
    """One training, or what is left of one."""
    shape, length, batch = (BILLION, 512, 2) if size == "1b" else SIZES["tiny"]
    torch.manual_seed(1)
    model = GPT2LMHeadModel(shape).to(device)
    for layer in model.transformer.h:
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    data = Tokens(shape, length)
    loader = DataLoader(data, batch, sampler=DistributedSampler(data))
    run = branchtrack.start(
        "sharded",
        model=model,
        optimizer=optimizer,
        data=loader,
        max_steps=STEPS,
        save_steps=MIDDLE,
        seed=2,
        **given,
    )
    with run:
        for tokens in run.batches():
            moved = tokens.to(device)
            loss = model(input_ids=moved, labels=moved).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)
            if run.step():
                break


def measure(size: str) -> dict[str, Any]:
    """Train, resume from the middle, and compare; of rank 0."""
    local = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    torch.use_deterministic_algorithms(True, warn_only=True)
    started = time.monotonic()
    train(size, device)
    first = time.monotonic() - started
    database = Database(config.load().database_url)
    with database.read() as connection:
        made = [nodes.get(connection, node) for node in nodes.list_ids(connection)]
    middle = next(node for node in made if node.step == MIDDLE)
    dist.barrier()
    train(size, device, resume=middle.id, branch="resumed")
    with database.read() as connection:
        end = nodes.find(connection, "sharded/resumed")
        stored = nodes.checkpoint(connection, middle.state_digest)
        copies = metrics.read(connection, [middle.segment_id], COPY_MS)[middle.segment_id]
        fork = nodes.children(connection, middle.id)[-1]
    whole = next(node for node in made if node.step == STEPS)
    return {
        "ranks": dist.get_world_size(),
        "backend": dist.get_backend(),
        "state_megabytes": round(stored.logical_bytes / 1e6, 1),
        "packs": len({place.pack for place in stored.locations.values()}),
        "copy_ms": [round(float(value), 1) for value in copies.values],
        "seconds": round(first, 1),
        "resumed to the same digest": end.state_digest == whole.state_digest,
        "first update": (fork.compared or {}).get("state"),
    }


def main(folder: str, size: str) -> None:
    """Measure, and have rank 0 print it."""
    os.environ.setdefault("BRANCHTRACK_HOME", str(Path(folder) / "home"))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    results = measure(size)
    if dist.get_rank() == 0:
        print("RESULT", json.dumps(results), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
