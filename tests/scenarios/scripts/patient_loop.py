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
    for number, (x, y) in enumerate(run.batches()):
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        run.log(loss=loss)
        is_slow = is_launched and number > 4 and not os.path.exists("go")
        time.sleep(3.0 if is_slow else 0.0)
        if run.step():
            break
