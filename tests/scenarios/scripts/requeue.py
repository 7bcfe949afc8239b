import time

import torch

import branchtrack

p = torch.nn.Linear(3, 1)
o = torch.optim.SGD(p.parameters(), 0.01)
run = branchtrack.start("deep", model=p, optimizer=o, max_steps=60, save_steps=10, seed=1)
with run:
    while not run.step():
        time.sleep(0.05)
        o.zero_grad()
        loss = p(torch.randn(8, 3)).pow(2).mean()
        loss.backward()
        o.step()
        run.log({"x": run.update, "loss": loss, "lr": o.param_groups[0]["lr"]})
