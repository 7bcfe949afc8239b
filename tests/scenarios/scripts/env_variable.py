import argparse
import os

import torch
from torch.utils.data import DataLoader, TensorDataset

import branchtrack


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--name")
    p.add_argument("--lr", type=float)
    p.add_argument("--tag", default="")
    a = p.parse_args()
    extra = float(os.environ.get("MY_SCALE", "1"))  # an environment variable of the job
    torch.manual_seed(0)
    m = torch.nn.Linear(4, 1)
    o = torch.optim.Adam(m.parameters(), a.lr)
    g = torch.Generator().manual_seed(1)
    d = TensorDataset(torch.randn(32, 4, generator=g), torch.randn(32, 1, generator=g))
    with branchtrack.start(
        a.name,
        model=m,
        optimizer=o,
        data=DataLoader(d, 4, shuffle=True),
        max_steps=20,
        save_steps=5,
        seed=0,
    ) as run:
        for x, y in run.batches():
            loss = extra * ((m(x) - y) ** 2).mean()
            loss.backward()
            o.step()
            o.zero_grad()
            run.log(loss=loss)
            if run.step():
                break


if __name__ == "__main__":
    main()
