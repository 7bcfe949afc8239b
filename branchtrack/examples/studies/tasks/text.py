"""A network of GPT-2's shape that learns the text of Python's documentation, byte by byte.

    python -m branchtrack.examples.studies.tasks.text --lr 2e-3

``--size`` is the width of the model.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from branchtrack.examples.studies.corpora import documentation
from branchtrack.examples.studies.tasks import loop, options

PARTS = ("train", "validation", "test")
CONTEXT, _BYTES, _HEAD, _HELD_OUT = 64, 256, 32, 160


def windows(text: bytes) -> torch.Tensor:
    """Return text as windows of bytes, (n, CONTEXT) int64; what is left at its end is not used."""
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    return data[: len(data) // CONTEXT * CONTEXT].view(-1, CONTEXT)


def parts() -> dict[str, torch.Tensor]:
    """Return the windows to train on, and those for validation and test at even distances."""
    data = {name: windows(documentation(name).encode()) for name in PARTS}
    return {"train": data["train"], **{n: spread(data[n], _HELD_OUT) for n in PARTS[1:]}}


def spread(data: torch.Tensor, count: int) -> torch.Tensor:
    """Return ``count`` windows of the data at even distances; all of it if there are no more."""
    return data[:: max(1, len(data) // count)][:count]


class Network(nn.Module):
    """A GPT-2 in small: two blocks, pre-norm, learned positions, weights shared with the output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(_BYTES, width)
        self.positions = nn.Embedding(CONTEXT, width)
        block = nn.TransformerEncoderLayer(
            width, max(1, width // _HEAD), 4 * width,
            dropout=0.0, activation="gelu", batch_first=True, norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(block, 2, nn.LayerNorm(width), False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the scores of each next byte, (n, CONTEXT, 256)."""
        states = self.words(windows) + self.positions.weight
        states = self.blocks(states, mask=self.mask, is_causal=True)
        scores: torch.Tensor = states @ self.words.weight.T
        return scores


def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of predicting each byte of windows (n, CONTEXT) from those before it."""
    scores = model(batch)[:, :-1]
    return cross_entropy(scores.reshape(-1, _BYTES), batch[:, 1:].reshape(-1))


def main() -> None:
    chosen = options.parser(__doc__, name="text", size=64, batch=16, lr=2e-3).parse_args()
    data = {part: (rows,) for part, rows in parts().items()}
    task = loop.task_of(data, Network, lambda model, batch: loss(model, batch[0]), chosen)
    loop.train(task, chosen)


if __name__ == "__main__":
    main()
