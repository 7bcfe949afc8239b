"""A small GPT-2 on two kinds of text, whose mixture can be changed while it trains.

    python -m branchtrack.examples.mixed
    branchtrack set mixed data.mixture.docstrings=0 --reason "prose alone from here on"

Nothing is downloaded. Only the lines marked ``branchtrack`` differ from a script without it.
"""

from __future__ import annotations

import argparse
import ast
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel

import branchtrack
from branchtrack.examples.text import CONTEXT, windows


def docstrings() -> list[str]:
    """Return the docstrings of some modules of the standard library."""
    paths = sorted(Path(ast.__file__).parent.glob("[a-d]*.py"))
    trees = [ast.parse(path.read_text("utf-8")) for path in paths]
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(n) for tree in trees for n in ast.walk(tree) if isinstance(n, kinds)]
    return [text for text in texts if text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--continue", action="store_true", help="go on where it ended before")
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()

    torch.manual_seed(0)
    sources = {"topics": windows(list(topics.values())), "docstrings": windows(docstrings())}
    train = branchtrack.mixture(sources, {"topics": 1, "docstrings": 3})  # branchtrack
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=256,
            n_positions=CONTEXT,
            n_embd=64,
            n_layer=2,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    run = branchtrack.start(  # branchtrack
        "mixed",
        model=model,
        optimizer=optimizer,
        max_steps=options.steps,
        save_steps=50,
        data=DataLoader(train, batch_size=8, shuffle=True, num_workers=2),
    )
    with run:  # branchtrack
        for batch in run.batches():  # branchtrack
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)  # branchtrack
            if run.step():  # branchtrack
                break


if __name__ == "__main__":
    main()
