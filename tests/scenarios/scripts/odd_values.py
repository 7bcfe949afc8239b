import decimal
import fractions

import numpy as np
import torch

import branchtrack

p = torch.nn.Linear(2, 1)
o = torch.optim.SGD(p.parameters(), 0.1)
run = branchtrack.start("odd", model=p, optimizer=o, max_steps=8, save_steps=4, seed=1)
odd = [1.5, float("nan"), float("inf"), float("-inf"), 1e308, 5e-324, -0.0, 3]
with run:
    while not run.step():
        o.zero_grad()
        loss = p(torch.randn(4, 2)).sum()
        loss.backward()
        o.step()
        v = odd[run.update - 1]
        run.log(
            {
                "train/loss @ k=5 (%)": v,
                "Verlust äöü 损失 🎯": np.float32(v),
                "a" * 300: v,
                "<script>alert(1)</script>": v,
                "loss": loss,
                "t": torch.tensor([v]),
                "np": np.int64(3),
                "half": torch.tensor(v).to(torch.bfloat16),
            }
        )
        run.log(
            text="abc",
            none=None,
            flag=True,
            vec=torch.ones(3),
            nested={"a": 1},
            big=10**400,
            dec=decimal.Decimal("0.1"),
            frac=fractions.Fraction(1, 3),
        )
