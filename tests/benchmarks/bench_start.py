"""From the order of a fork to its first update, less what the script itself takes to begin.

    python -m tests.benchmarks.bench_start [--rounds 3]

The model is a BERT of 22 million parameters with AdamW, of which a node has 272 MB of state. The
script is timed by itself, from its start to the end of its first update, and then as forks that a
worker starts, from the order on; the least of a few rounds of each is told. Seconds are shown, and
asserted nowhere.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from branchtrack import config, control
from branchtrack.checkpoints.location import open_store
from branchtrack.config import Config
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.launching.worker import Worker, in_background

SCRIPT = """
import time
import torch
from transformers import BertConfig, BertForMaskedLM
import branchtrack

torch.manual_seed(0)
model = BertForMaskedLM(BertConfig(
    hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536))
optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
rows = torch.randint(0, 30000, (64, 16))
data = torch.utils.data.DataLoader(rows, 4, shuffle=True)
run = branchtrack.start("bert", model=model, optimizer=optimizer, data=data, max_steps=LAST)
with run:
    for batch in run.batches():
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print("updated at", time.time(), flush=True)
        if run.step():
            break
"""


def measure(rounds: int = 3) -> tuple[float, float]:
    """The seconds to a first update: of the script by itself, and of a fork since its order."""
    with tempfile.TemporaryDirectory() as folder:
        home = config.load(Path(folder) / "home")
        script = Path(folder) / "bert.py"
        script.write_text(SCRIPT.replace("LAST", "2"))
        alone = min(_alone(home, script) for _ in range(rounds))
        database = open_database(home)
        worker = Worker(database, home)
        with in_background(worker):
            forks = min(_fork(home, database, worker, number) for number in range(rounds))
        database.close()
        return alone, forks


def _alone(home: Config, script: Path) -> float:
    began = time.time()
    output = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **home.environment()},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return _first_update(output) - began


def _fork(home: Config, database: Database, worker: Worker, number: int) -> float:
    with database.read() as connection:
        node = nodes.find(connection, "bert@2")
    ordered = time.time()
    launch = control.create_launch(
        database,
        open_store(home.store),
        node.id,
        actor="bench",
        name=f"fork-{number}",
        settings={"max_steps": 4},
    )
    ended = control.wait_for_end(database, launch.id, 120)
    assert ended.state == "ended", ended.error
    return _first_update(Path(ended.log or "").read_text()) - ordered


def _first_update(output: str) -> float:
    words = next(line for line in output.splitlines() if line.startswith("updated at"))
    return float(words.split()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    alone, forked = measure(parser.parse_args().rounds)
    print(f"by itself {alone:.2f} s, as a fork {forked:.2f} s: {forked - alone:.2f} s more")


if __name__ == "__main__":
    main()
