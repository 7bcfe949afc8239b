"""A plain loop as a user writes it, with all that has state: ``python plain_script.py``."""

from __future__ import annotations

import os
import time

import torch
from torch.utils.data import DataLoader, TensorDataset

import branchtrack


def main() -> None:
    """Train a tiny network for 14 updates, each PAUSE seconds long, and commit every fifth."""
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(64, 4), torch.randn(64, 2))
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 14)
    run = branchtrack.start(
        "tiny",
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        data=DataLoader(data, batch_size=4, shuffle=True),
        max_steps=14,
        save_steps=5,
        seed=1,
    )
    with run:
        for x, y in run.batches():
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            run.log(loss=loss)
            time.sleep(float(os.environ.get("PAUSE", "0")))
            if run.step():
                break


if __name__ == "__main__":
    main()
