"""A plain loop that trains until it is stopped: ``python -m tests.benchmarks.control_script MS``.

Each update takes about MS milliseconds.
"""

from __future__ import annotations

import sys
import time

import torch

import branchtrack


def main() -> None:
    """Train a tiny model."""
    torch.set_num_threads(1)
    pause = float(sys.argv[1]) / 1e3
    model = torch.nn.Linear(8, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with branchtrack.start("bench", model=model, optimizer=optimizer, seed=1) as run:
        while not run.step():
            loss = model(torch.randn(4, 8)).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)
            time.sleep(pause)


if __name__ == "__main__":
    main()
