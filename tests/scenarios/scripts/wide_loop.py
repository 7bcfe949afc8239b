"""A plain loop whose bits depend on how many threads share a sum."""

import os

import torch
from torch.utils.data import DataLoader, TensorDataset

import branchtrack

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(512, 768), torch.nn.Tanh(), torch.nn.Linear(768, 768))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
data = TensorDataset(torch.randn(2048, 512), torch.randn(2048, 768))
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
        # The gradient contains the sum, whose order is that of the threads.
        loss = ((model(x) - y) ** 2).sum().log()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        run.log(loss=loss)
        if run.step():
            break
