"""The network of `text` on two kinds of text, of which one may come while it trains.

    python -m branchtrack.examples.studies.tasks.kinds --incoming incoming --arrivals 60,120

The old kind is Python's documentation; the new one is code of its standard library. Files of the
new kind that appear in the folder ``--incoming`` are added to the data. At each of ``--arrivals``
the training waits until the next one was noticed, so that results do not depend on how quick the
machine is.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

import branchtrack
from branchtrack import config
from branchtrack.db import requests, segments
from branchtrack.db.engine import Database
from branchtrack.examples.studies import corpora
from branchtrack.examples.studies.tasks import options, text
from branchtrack.examples.studies.tasks.text import Network

KINDS = ("old", "new")
_WINDOWS, _CLIP, _LOOK, _PATIENCE = 128, 1.0, 0.1, 300.0


def read(path: Path) -> torch.Tensor:
    """Return the text of a file as windows of bytes, (n, CONTEXT) int64: a shard's items."""
    return text.windows(path.read_bytes())


def held_out(part: str) -> dict[str, torch.Tensor]:
    """Return windows of both kinds for ``validation`` or ``test``."""
    kinds = {"old": corpora.documentation(part), "new": corpora.code(part)}
    return {k: text.spread(text.windows(v.encode()), _WINDOWS) for k, v in kinds.items()}


def main() -> None:
    parser = options.parser(__doc__, name="kinds", size=64, batch=16, lr=2e-3)
    parser.add_argument("--folder", type=Path, required=True, help="where the shards are")
    parser.add_argument("--incoming", type=Path, help="the folder to watch")
    parser.add_argument("--arrivals", default="", help="updates at which a file is waited for")
    chosen = parser.parse_args()
    data = branchtrack.LiveDataset(
        {path.stem: path for path in sorted(chosen.folder.glob("*.txt"))},
        read=read,
        watch=chosen.incoming,
        length=chosen.steps * chosen.batch,
        seed=chosen.seed,
    )
    torch.manual_seed(chosen.seed)  # before the model is made
    _train(Network(chosen.size), data, chosen)


def _train(model: Network, data: Any, chosen: argparse.Namespace) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), chosen.lr, weight_decay=0.01)
    scheduler = options.schedule(chosen, optimizer)
    validation, test = held_out("validation"), held_out("test")

    def losses(parts: dict[str, torch.Tensor], prefix: str) -> dict[str, float]:
        with torch.no_grad():
            values = {kind: float(text.loss(model, parts[kind])) for kind in KINDS}
        return {f"{prefix}_{kind}": value for kind, value in values.items()} | {
            f"{prefix}_loss": sum(values.values()) / len(values)
        }

    run = branchtrack.start(
        chosen.name,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        data=DataLoader(data, chosen.batch),
        evaluate=lambda: losses(validation, "eval"),
        max_steps=chosen.steps,
        save_steps=chosen.every,
        seed=chosen.seed,
    )
    arrivals = [int(step) for step in chosen.arrivals.split(",") if step]
    with run:
        for batch in run.batches():
            loss = text.loss(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            optimizer.zero_grad()
            run.log(loss=loss)
            if run.update == 1 or run.update % chosen.every == 0:
                run.evaluate()
            if run.update == chosen.steps:
                run.log(losses(test, "test"))
            if run.step():
                break
            if run.update in arrivals:
                _wait_for_file()


def _wait_for_file() -> None:
    """Wait until a request to add the next file has arrived, for the coming control point."""
    database = Database(config.load().database_url)
    deadline = time.monotonic() + _PATIENCE
    try:
        while time.monotonic() < deadline:
            with database.read() as connection:
                segment = segments.of_process(connection, os.getpid(), 0.0)
                is_there = segment and requests.waiting(connection, segment.id)
            # The process itself looks for requests every 0.1 s.
            time.sleep(0.5 if is_there else _LOOK)
            if is_there:
                return
    finally:
        database.close()
    raise SystemExit("No file has arrived.")


if __name__ == "__main__":
    main()
