import torch
from prodigyopt import Prodigy
from schedulefree import AdamWScheduleFree
from torch import nn

import branchtrack

torch.manual_seed(0)
a, b = nn.Linear(6, 16), nn.Linear(16, 3)
pro = Prodigy(
    a.parameters(), lr=1.0, weight_decay=0.01, safeguard_warmup=True, use_bias_correction=True
)
free = AdamWScheduleFree(b.parameters(), lr=1e-2, warmup_steps=5)
g = torch.Generator().manual_seed(1)
x, y = torch.randn(64, 6, generator=g), torch.randint(0, 3, (64,), generator=g)
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8, shuffle=True)


def evaluate():
    free.eval()
    loss = float(nn.functional.cross_entropy(b(torch.relu(a(x))), y))
    free.train()
    return {"eval_loss": loss}


run = branchtrack.start(
    "pro",
    model={"a": a, "b": b},
    optimizer={"pro": pro, "free": free},
    data=data,
    max_steps=25,
    save_steps=3,
    seed=1,
    evaluate=evaluate,
)
free.train()
with run:
    for u, v in run.batches():
        pro.zero_grad()
        free.zero_grad()
        loss = nn.functional.cross_entropy(b(torch.relu(a(u))), v)
        loss.backward()
        pro.step()
        free.step()
        run.log(loss=loss, d=pro.param_groups[0]["d"])
        if run.update % 4 == 0:
            run.evaluate()
        if run.step():
            break
