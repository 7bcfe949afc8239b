"""What holds on a GPU: exact resumes, the guard, what a commit costs, generators of the device.

    python -m tests.benchmarks.gpu [--to output/gpu] [--size tiny]

A GPT of 124 million parameters (GPT-2's shape, random weights) trains in bfloat16 autocast with
fused AdamW, two loader workers and `torch.compile`, with deterministic kernels and without. A node
in the middle is resumed, and the ends are compared tensor by tensor. A GPT of a billion parameters,
sharded, trains under torchrun, on two GPUs if there are (see `gpu_ranks`). `--size tiny` tries the
script itself, on any device. It takes some minutes, and says plainly where there is no CUDA.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# cuBLAS reads it once, as it starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import GPT2Config, GPT2LMHeadModel

import branchtrack
from branchtrack.core.records import Launch, Node
from branchtrack.training import rng
from branchtrack.training.attributes.changes import Attributes
from branchtrack.training.record.committer import COPY_MS
from tests.training import several
from tests.training.homes import Home
from tests.training.loops import process

NO_CUDA = "There is no CUDA device here: nothing was measured."
STEPS, MIDDLE, ROUNDS = 12, 6, 7
SIZES = {
    "gpt2": (GPT2Config(bos_token_id=0, eos_token_id=0), 512, 8),
    "tiny": (
        GPT2Config(
            vocab_size=64,
            n_positions=32,
            n_embd=16,
            n_layer=1,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
        ),
        32,
        4,
    ),
}


class Tokens(Dataset[torch.Tensor]):
    """Random tokens, the same ones each time for a ``seed``."""

    def __init__(self, config: GPT2Config, length: int, seed: int = 0) -> None:
        self.vocabulary, self.length, self.seed = config.vocab_size, length, seed

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed + index)
        return torch.randint(0, self.vocabulary, (self.length,), generator=generator)


def train(
    home: Home, name: str, device: str, size: str, launch: Launch | None = None, seed: int = 0
) -> None:
    """One training, or what is left of one, as a script that is started makes it."""
    config, length, batch = SIZES[size]
    torch.manual_seed(1)
    model = GPT2LMHeadModel(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=device == "cuda")
    forward = torch.compile(model) if device == "cuda" else model
    workers = 2 if device == "cuda" else 0
    data = DataLoader(Tokens(config, length, seed), batch, shuffle=True, num_workers=workers)
    with process(home, launch):
        run = branchtrack.start(
            name,
            model=model,
            optimizer=optimizer,
            data=data,
            max_steps=STEPS,
            save_steps=MIDDLE // 2,
            seed=2,
        )
    with run:
        for tokens in run.batches():
            moved = tokens.to(device, non_blocking=True)
            with torch.autocast(device, torch.bfloat16):
                loss = forward(input_ids=moved, labels=moved).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)
            if run.step():
                break


@contextmanager
def kernels(*, deterministic: bool) -> Iterator[None]:
    """With torch's deterministic kernels alone, or with the fastest ones."""
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def difference(home: Home, a: Node, b: Node) -> dict[str, Any]:
    """How many tensors differ between two nodes, and the first of them with how far apart."""
    one, other = home.snapshot(a).tensors, home.snapshot(b).tensors
    names = [name for name in one if not torch.equal(one[name], other[name])]
    if not names:
        return {"tensors": len(one), "differ": 0}
    first = names[0]
    largest = (one[first].double() - other[first].double()).abs().max().item()
    return {"tensors": len(one), "differ": len(names), "first": first, "largest": largest}


def exact_resume(home: Home, device: str, size: str, *, deterministic: bool) -> dict[str, Any]:
    """A training, another of the same, and a resume from the middle, compared at their ends."""
    name = "deterministic" if deterministic else "fastest"
    with kernels(deterministic=deterministic):
        train(home, name, device, size)
        train(home, f"{name}-twice", device, size)
        middle = home.node(MIDDLE, f"{name}/main")
        launch = home.order(middle)
        train(home, name, device, size, launch)
        broken = home.order(middle)
        train(home, name, device, size, broken, seed=1000)
    whole = home.nodes(f"{name}/main")[-1]
    return {
        "kernels": name,
        "again from the start": difference(home, whole, home.nodes(f"{name}-twice/main")[-1]),
        "resumed from the middle": difference(home, whole, home.final(launch)),
        "guard, nothing changed": (home.fork(launch).compared or {}).get("state"),
        "guard, other data": (home.fork(broken).compared or {}).get("state"),
    }


def stall(home: Home, device: str, size: str) -> dict[str, Any]:
    """What a commit holds training up for, against copying the same bytes to pinned memory."""
    segment = home.segment("deterministic/main").id
    copies = [value for step, value in sorted(home.points(COPY_MS, segment).items()) if step]
    tensors = [
        t.to(device)
        for t in home.snapshot(home.node(MIDDLE, "deterministic/main")).tensors.values()
    ]
    buffers = [torch.empty_like(t, device="cpu", pin_memory=device == "cuda") for t in tensors]
    seconds = []
    for _ in range(ROUNDS):
        _wait(device)
        started = time.perf_counter()
        for tensor, buffer in zip(tensors, buffers, strict=True):
            buffer.copy_(tensor, non_blocking=True)
        _wait(device)
        seconds.append(time.perf_counter() - started)
    copy, commit = 1e3 * statistics.median(seconds), statistics.median(copies)
    return {
        "megabytes": round(sum(t.nbytes for t in tensors) / 1e6, 1),
        "commit_ms": round(commit, 2),
        "pinned_copy_ms": round(copy, 2),
        "ratio": round(commit / copy, 2),
    }


def generators(device: str) -> dict[str, Any]:
    """Whether what the device draws comes again: of torch's own generator, and of a script's."""

    class Script:
        def __init__(self) -> None:
            self.noise = torch.Generator(device).manual_seed(3)

    script = Script()
    watched = Attributes({"script": script}, torch.nn.Linear(1, 1))
    torch.rand(5, generator=script.noise, device=device)
    states, now = watched.state(), rng.capture()
    drawn = torch.rand(5, device=device), torch.rand(5, generator=script.noise, device=device)
    rng.restore(now)
    watched.restore(states)
    again = torch.rand(5, device=device), torch.rand(5, generator=script.noise, device=device)
    return {
        "torch's own": torch.equal(drawn[0], again[0]),
        "a script's": torch.equal(drawn[1], again[1]),
    }


def ranks(folder: Path, device: str, size: str) -> dict[str, Any]:
    """A sharded model under torchrun: a rank for each of two GPUs, or one for the only one."""
    processes = min(2, torch.cuda.device_count()) if device == "cuda" else 2
    sharded = "tiny" if size == "tiny" else "1b"
    given = "-m", "tests.benchmarks.gpu_ranks", str(folder / "sharded"), sharded
    process = several.started(*given, processes=processes)
    text = several.output(process)
    lines = [line for line in text.split("\n") if line.startswith("RESULT ")]
    assert lines, text[-4000:]
    results: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return results


def measure(device: str, size: str) -> dict[str, Any]:
    """Everything, as JSON has it."""
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="branchtrack-gpu-") as folder:
        home = Home(Path(folder))
        try:
            resumes = [exact_resume(home, device, size, deterministic=d) for d in (True, False)]
            results = {
                "device": name,
                "torch": torch.__version__,
                "size": size,
                "resumes": resumes,
                "stall": stall(home, device, size),
                "generators": generators(device),
                "several processes": ranks(home.folder, device, size),
            }
        finally:
            home.close()
    return {**results, "seconds": round(time.monotonic() - started, 1)}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure, print, and write ``gpu.json``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=Path("output/gpu"))
    parser.add_argument("--size", choices=sorted(SIZES), default="gpt2")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        print(NO_CUDA, flush=True)
        if given.size != "tiny":
            return
    results = measure(device, given.size)
    given.to.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1)
    (given.to / "gpu.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
