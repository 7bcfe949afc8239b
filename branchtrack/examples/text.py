"""A small GPT-2 that learns English, byte by byte, from Python's own documentation.

    python -m branchtrack.examples.text --lr 3e-3

Nothing is downloaded. Only the lines marked ``branchtrack`` differ from a script without it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pydoc_data.topics import topics

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

import branchtrack

BranchingTrainer = branchtrack.make_branching(Trainer)  # branchtrack
CONTEXT = 128


def windows(texts: list[str]) -> list[dict[str, torch.Tensor]]:
    """Return all texts, cut into windows of ``CONTEXT`` bytes."""
    data = torch.tensor(list("\n".join(texts).encode()))
    whole = data[: len(data) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    return [{"input_ids": window, "labels": window} for window in whole]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--name", default="text", help="name of the run")
    parser.add_argument("--continue", action="store_true", help="go on where it ended before")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--every", type=int, default=20, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="folder for what the Trainer itself writes")
    options = parser.parse_args()

    names = sorted(topics)
    held_out = names[::12]
    train = windows([topics[name] for name in names if name not in held_out])
    test = windows([topics[name] for name in held_out])[:128]

    set_seed(options.seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=256,
            n_positions=CONTEXT,
            n_embd=96,
            n_layer=3,
            n_head=4,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    trainer = BranchingTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=options.output,
            run_name=options.name,  # branchtrack: the name of the run
            max_steps=options.steps,
            learning_rate=options.lr,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=20,
            weight_decay=0.01,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=32,
            logging_steps=2,
            eval_strategy="steps",
            eval_steps=options.every,
            save_steps=options.every,
            seed=options.seed,
            report_to="none",
            disable_tqdm=not sys.stderr.isatty(),
        ),
        train_dataset=train,
        eval_dataset=test,
    )
    trainer.train()


if __name__ == "__main__":
    main()
