"""What a divergence guard saves: trainings at 10 and 30 times the good rate, against tuned ones.

    python -m tests.benchmarks.bench_guard [--seeds 3] [--steps 200]

A small byte-level GPT on prose, at a constant rate and without warm-up. The tuned training has the
best of a few rates and a cosine schedule over the same number of updates. `branchtrack agent
--policy guard --mode act` watches the others from a process of its own. One line for each training:
its held-out loss, relative to the tuned one of the same seed, and how often it was rolled back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SCRIPT = """
import argparse
import torch
from pydoc_data.topics import topics
from transformers import GPT2Config, GPT2LMHeadModel
import branchtrack

parser = argparse.ArgumentParser()
parser.add_argument("--name")
parser.add_argument("--lr", type=float)
parser.add_argument("--seed", type=int)
parser.add_argument("--steps", type=int)
parser.add_argument("--cosine", action="store_true")
options = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(options.seed)
names = sorted(topics)
held = set(names[::12])


def windows(chosen):
    text = "".join(topics[name] for name in chosen).encode()
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    return data[: len(data) // 64 * 64].view(-1, 64)


train, test = windows([n for n in names if n not in held]), windows(sorted(held))[:200]
model = GPT2LMHeadModel(GPT2Config(
    vocab_size=256, n_positions=64, n_embd=64, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0,
    resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, loss_type="ForCausalLMLoss"))
optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=0.01)
schedule = None
if options.cosine:
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
loader = torch.utils.data.DataLoader(train, batch_size=16, shuffle=True, drop_last=True)


def evaluate():
    with torch.no_grad():
        return {"eval_loss": model(input_ids=test, labels=test).loss.item()}


run = branchtrack.start(
    options.name, model=model, optimizer=optimizer, scheduler=schedule, data=loader,
    evaluate=evaluate, seed=options.seed, max_steps=options.steps, save_steps=10)
for batch in run.batches():
    loss = model(input_ids=batch, labels=batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if schedule is not None:
        schedule.step()
    optimizer.zero_grad()
    run.log(loss=loss.item())
    if run.update == options.steps:
        run.evaluate()
    if run.step():
        break
run.finish()
"""
RATES = (1e-3, 2e-3, 4e-3)
TIMES = (10, 30)
#: Points without progress after which a training from scratch has not taken off.
STUCK = 20


class Bench:
    """A home in a folder of its own, and the script that is trained there."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._folder, self._steps = folder, steps
        self._script = folder / "text.py"
        self._script.write_text(SCRIPT)
        self._environment = {
            **os.environ,
            "BRANCHTRACK_HOME": str(folder / "home"),
            "OMP_NUM_THREADS": "1",
        }

    def tuned(self, seed: int) -> tuple[float, float]:
        """The best held-out loss of a tuned schedule, and its rate."""
        losses = {}
        for rate in RATES:
            name = f"tuned-{seed}-{rate:g}"
            self._train(name, rate, seed, "--cosine").wait()
            losses[rate] = self.loss(name)
        best = min(losses, key=lambda rate: losses[rate])
        return losses[best], best

    def guarded(self, seed: int, rate: float, name: str) -> tuple[float, int]:
        """The held-out loss of a training that a guard watches, and its rollbacks."""
        training = self._train(name, rate, seed)
        while not any(run["name"] == name for run in self._call("runs")):
            time.sleep(0.2)
        options = ("--policy", "guard", "--mode", "act", "--option", f"stuck={STUCK}")
        agent = self._call("agent", name, *options)
        training.wait()
        return self.loss(f"{name}/{agent['branch']}"), agent["spent"].get("branches", 0)

    def loss(self, ref: str) -> float:
        """The last held-out loss of a branch."""
        return float(self._call("curve", ref, "eval_loss")["values"][-1])

    def _train(self, name: str, rate: float, seed: int, *more: str) -> subprocess.Popen[bytes]:
        words = ["--name", name, "--lr", str(rate), "--seed", str(seed)]
        command = [sys.executable, str(self._script), *words, "--steps", str(self._steps), *more]
        log = (self._folder / f"{name}.log").open("wb")
        return subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def _call(self, *words: str) -> Any:
        command = [sys.executable, "-m", "branchtrack", *words, "--json"]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else []


def main() -> None:
    """Print a line for each training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    print("seed  times  lr      loss   tuned  of it  rollbacks", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.steps)
        for seed in range(options.seeds):
            tuned, best = bench.tuned(seed)
            for times in TIMES:
                rate = best * times
                loss, rollbacks = bench.guarded(seed, rate, f"hot-{seed}-{times}")
                print(
                    f"{seed:4}  {times:5}  {rate:<6g}  {loss:.3f}  {tuned:.3f}  "
                    f"{loss / tuned:.3f}  {rollbacks}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
