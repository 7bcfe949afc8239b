import torch

import branchtrack

torch.manual_seed(0)
p = torch.nn.Linear(3, 1)
o = torch.optim.AdamW(p.parameters(), 0.01)
run = branchtrack.start(
    "infs",
    model=p,
    optimizer=o,
    max_steps=12,
    save_steps=3,
    seed=1,
    settings={"clip": float("inf")},
)
with run:
    while not run.step():
        o.zero_grad()
        loss = p(torch.randn(8, 3)).pow(2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(p.parameters(), run.settings["clip"])
        o.step()
        run.log(loss=loss)
