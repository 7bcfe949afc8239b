"""A plain loop over matrices so large that several threads share their sums."""

import os

import torch
from torch.utils.data import DataLoader, TensorDataset

import branchtrack

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(512, 768), torch.nn.Tanh(), torch.nn.Linear(768, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
data = TensorDataset(torch.randn(2048, 512), torch.randn(2048, 1))
with branchtrack.start(
    "wide",
    model=model,
    optimizer=optimizer,
    data=DataLoader(data, 256, shuffle=True),
    max_steps=20,
    save_steps=5,
    seed=0,
) as run:
    print("threads", torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"), flush=True)
    for x, y in run.batches():
        loss = ((model(x) - y) ** 2).sum() / 256
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        run.log(loss=loss)
        if run.step():
            break
