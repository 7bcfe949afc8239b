"""A plain loop that takes its time when it is launched, until a file `go` says that it need not."""

import os
import time

import torch
from torch.utils.data import DataLoader, TensorDataset

import branchtrack

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.1), torch.nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
data = TensorDataset(torch.randn(256, 8), torch.randn(256, 1))
is_launched = "BRANCHTRACK_LAUNCH" in os.environ
with branchtrack.start(
    "patient",
    model=model,
    optimizer=optimizer,
    data=DataLoader(data, 16, shuffle=True),
    max_steps=60,
    save_steps=10,
    seed=0,
) as run:
    for x, y in run.batches():
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        run.log(loss=loss)
        time.sleep(0.5 if is_launched and not os.path.exists("go") else 0.0)
        if run.step():
            break
