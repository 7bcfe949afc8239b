"""A byte-level language model on Python's own documentation: the file that the agent changes.

It trains on its own, too: ``python train.py``. Nothing is downloaded. `program.md` says what may be
changed; the evaluation and the number of steps may not.
"""

from __future__ import annotations

from pydoc_data.topics import topics

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import branchtrack

NAME, STEPS, WARM = "autoresearch", 200, 100
CONTEXT, BATCH, SEED = 64, 32, 0
WIDTH, HIDDEN, DROPOUT = 32, 96, 0.0
LR, WEIGHT_DECAY = 3e-3, 0.0


class Model(nn.Module):
    """Bytes in, logits of the next byte out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, WIDTH)
        self.recurrent = nn.GRU(WIDTH, HIDDEN, batch_first=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(HIDDEN, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits for each position."""
        states, _last = self.recurrent(self.embedding(x))
        logits: torch.Tensor = self.head(self.dropout(states))
        return logits


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the documentation in windows of bytes: for training, and every tenth held out."""
    data = torch.tensor(list("\n".join(topics.values()).encode()))
    whole = data[: len(data) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1)
    held_out = torch.arange(len(whole)) % 10 == 0
    return whole[~held_out], whole[held_out][:256]


def loss_of(model: nn.Module, batch: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Return the mean loss of predicting each byte from those before it."""
    logits = model(batch[:, :-1])
    return cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), label_smoothing=smoothing)


def main() -> None:
    torch.manual_seed(SEED)
    train, test = windows()
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=WEIGHT_DECAY)

    def evaluate() -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            return {"eval_loss": float(loss_of(model, test))}

    data = DataLoader(TensorDataset(train), batch_size=BATCH, shuffle=True, drop_last=True)
    run = branchtrack.start(
        NAME,
        model=model,
        optimizer=optimizer,
        data=data,
        evaluate=evaluate,
        max_steps=STEPS,
        save_steps=WARM,
        seed=SEED,
    )
    with run:
        for (batch,) in run.batches():
            model.train()
            loss = loss_of(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)
            if run.update % 50 == 0:
                run.evaluate()
            if run.step():
                break


if __name__ == "__main__":
    main()
