import math

import numpy as np
import torch
from torch import nn

import branchtrack

torch.manual_seed(1337)
text = np.random.default_rng(0).integers(0, 32, 4000).astype(np.uint16)
text.tofile("out-train.bin")


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(32, 16)
        self.h = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 32, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, x, y):
        return nn.functional.cross_entropy(
            self.head(
                self.h(
                    self.wte(x),
                    is_causal=True,
                    src_mask=nn.Transformer.generate_square_subsequent_mask(x.shape[1]),
                )
            ).flatten(0, 1),
            y.flatten(),
        )


model = LM()
matrices = [p for n, p in model.h.named_parameters() if p.ndim == 2]
rest = [p for p in model.parameters() if not any(p is q for q in matrices)]
muon, adam = (
    torch.optim.Muon(matrices, lr=0.02),
    torch.optim.AdamW(rest, lr=1e-3, betas=(0.9, 0.95)),
)


def get_lr(it):
    return 1.0 * (it + 1) / 5 if it < 5 else 0.1 + 0.45 * (1 + math.cos(math.pi * (it - 5) / 20))


def get_batch():
    data = np.memmap("out-train.bin", dtype=np.uint16, mode="r")
    ix = torch.randint(len(data) - 17, (4,))
    return tuple(
        torch.stack([torch.from_numpy(data[i + s : i + s + 16].astype(np.int64)) for i in ix])
        for s in (0, 1)
    )


run = branchtrack.start(
    "nano", model=model, optimizer={"muon": muon, "adam": adam}, max_steps=25, save_steps=5, seed=2
)
X, Y = get_batch()
with run:
    while not run.step():
        f = get_lr(run.step_number)
        for g in muon.param_groups:
            g["lr"] = 0.02 * f
        for g in adam.param_groups:
            g["lr"] = 1e-3 * f
        for _micro in range(2):
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(X, Y) / 2
            X, Y = get_batch()  # fetched ahead, as nanoGPT does
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step()
        adam.step()
        muon.zero_grad()
        adam.zero_grad()
        run.log(loss=loss, lr=adam.param_groups[0]["lr"])
