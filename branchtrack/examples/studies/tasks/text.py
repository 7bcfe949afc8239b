"""A small GPT-2 that learns the text of Python's documentation, byte by byte.

    python -m branchtrack.examples.studies.tasks.text --lr 2e-3

``--size`` is the width of the model.
"""

from __future__ import annotations

import os
from pydoc_data.topics import topics

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch.utils.data import DataLoader
from transformers.models.gpt2 import GPT2Config, GPT2LMHeadModel

from branchtrack.examples.studies.tasks import loop, options

CONTEXT, _HEAD, _HELD_OUT = 64, 32, 160


def windows(names: list[str]) -> torch.Tensor:
    """Return the text of some topics as windows of bytes, (n, CONTEXT) int64."""
    text = "\n".join(topics[name] for name in names).encode()
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    return data[: len(data) // CONTEXT * CONTEXT].view(-1, CONTEXT)


def parts() -> dict[str, torch.Tensor]:
    """Return the windows to train on, and those of other topics for validation and test."""
    names = sorted(topics)
    validation, test = names[::12], names[6::12]
    rest = [name for name in names if name not in {*validation, *test}]
    return {
        "train": windows(rest),
        # At even distances, so that every topic is there.
        **{
            part: _spread(windows(held_out))
            for part, held_out in (("validation", validation), ("test", test))
        },
    }


def _spread(data: torch.Tensor) -> torch.Tensor:
    return data[:: max(1, len(data) // _HELD_OUT)][:_HELD_OUT]


def network(width: int) -> GPT2LMHeadModel:
    """Return a GPT-2 of two layers without dropout."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=256,
            n_positions=CONTEXT,
            n_embd=width,
            n_layer=2,
            n_head=max(1, width // _HEAD),
            bos_token_id=0,
            eos_token_id=0,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
        )
    )


def main() -> None:
    parser = options.parser(__doc__, name="text", size=64, batch=16, lr=2e-3)
    chosen = parser.parse_args()
    data = parts()
    torch.manual_seed(chosen.seed)  # before the model is made
    model = network(chosen.size)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = model(input_ids=batch, labels=batch).loss
        return value

    def measure(part: str) -> float:
        with torch.no_grad():
            return float(loss(data[part]))

    loader = DataLoader(data["train"], chosen.batch, shuffle=True, drop_last=True)  # type: ignore[arg-type,var-annotated]
    loop.train(loop.Task(model, loader, loss, measure), chosen)


if __name__ == "__main__":
    main()
