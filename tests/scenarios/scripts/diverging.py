"""A plain loop whose loss explodes while the rate is high; slow enough to be watched.

Its argument is the number of updates.
"""

from __future__ import annotations

import math
import sys
import time

import torch

import branchtrack

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = torch.utils.data.DataLoader(torch.ones(8, 2), batch_size=2)
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 120
run = branchtrack.start(
    "job", model=model, optimizer=optimizer, data=data, max_steps=steps, save_steps=10
)
for batch in run.batches():
    loss = (model(batch) - torch.randn(len(batch), 1)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    is_bad = run.update >= 40 and optimizer.param_groups[0]["lr"] > 0.06
    run.log(loss=math.nan if is_bad else 1.0 / run.update)
    time.sleep(0.05)
    if run.step():
        break
run.finish()
