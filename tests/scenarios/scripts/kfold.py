import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

import branchtrack

x = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
y = x.sum(1, keepdim=True)
for fold in range(3):  # 3-fold cross-validation, a run for each fold
    held = set(range(fold * 20, fold * 20 + 20))
    rows = [i for i in range(60) if i not in held]
    torch.manual_seed(0)
    m = torch.nn.Linear(4, 1)
    o = torch.optim.Adam(m.parameters(), 1e-2)
    with branchtrack.start(
        f"fold{fold}",
        model=m,
        optimizer=o,
        data=DataLoader(Subset(TensorDataset(x, y), rows), 4, shuffle=True),
        max_steps=20,
        save_steps=5,
        seed=0,
    ) as run:
        for a, b in run.batches():
            loss = ((m(a) - b) ** 2).mean()
            loss.backward()
            o.step()
            o.zero_grad()
            run.log(loss=loss)
            if run.step():
                break
    print("fold", fold, "done", flush=True)
