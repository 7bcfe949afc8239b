import torch
from torch.utils.data import DataLoader, TensorDataset

import branchtrack

rows = [float(v) for v in open("data/rows.txt")]  # a relative path
torch.manual_seed(0)
m = torch.nn.Linear(4, 1)
o = torch.optim.Adam(m.parameters(), 1e-2)
d = TensorDataset(torch.tensor(rows).reshape(-1, 4), torch.tensor(rows[::4]).reshape(-1, 1))
with branchtrack.start(
    "mv",
    model=m,
    optimizer=o,
    data=DataLoader(d, 4, shuffle=True),
    max_steps=20,
    save_steps=5,
    seed=0,
) as run:
    for x, y in run.batches():
        loss = ((m(x) - y) ** 2).mean()
        loss.backward()
        o.step()
        o.zero_grad()
        run.log(loss=loss)
        if run.step():
            break
