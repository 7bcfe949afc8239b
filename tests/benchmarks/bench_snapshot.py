"""What a commit costs the training thread: against the copy alone, and against the Trainer's own.

    python -m tests.benchmarks.bench_snapshot [--rounds 7] [--to output/bench]

One training of a BERT of 22 million parameters (the shape of MiniLM-L6, random weights) with AdamW
saves again and again. At each save, in turn and in another order each time:

(a) memcpy: the same bytes are copied into the same buffers and nothing else, by one thread with
    memmove and by torch with all threads; the faster median counts;
(b) stall: branchtrack's control point with its commit, as the Trainer calls it;
(c) stock: `Trainer._save_checkpoint` of the same state.

Ratios are medians of the rounds' own; seconds are shown, and asserted nowhere. The first two saves
count apart: the root's buffers are allocated by it, those of the moments behind the first update.

Memory is measured without a Trainer: how far this process grows beyond the state itself while a
`Committer` allocates its buffers and commits three times.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from branchtrack import config, make_branching
from branchtrack.db import metrics, runs, segments
from branchtrack.db.schema import open_database
from branchtrack.environment_variables import HOME_VARIABLE
from branchtrack.training.record.committer import COPY_MS
from tests.benchmarks import resident
from tests.training.counting import counted

STALL, STOCK, MEMORY, FSYNCS = 1.5, 10.0, 1.05, 4
_EVERY = 2
_ORDERS = ("mtbs", "bstm", "tmsb", "sbmt", "btsm", "msbt")


@dataclass
class Result:
    """Milliseconds are medians; ``counts`` are those of one commit, on the thread that writes it.

    ``memory`` is the growth of the process / bytes of the state.
    """

    rounds: int
    state_mb: float
    memcpy_ms: float
    torch_copy_ms: float
    stall_ms: float
    stock_ms: float
    durable_ms: float
    root_ms: float
    second_ms: float
    stall_to_memcpy: float
    stock_to_stall: float
    memory: float
    counts: dict[str, float]
    each: list[dict[str, float]] = field(default_factory=list)
    machine: str = ""


class Words(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Random tokens."""

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        tokens = torch.randint(0, 30522, (16,), generator=generator)
        return {"input_ids": tokens, "labels": tokens[0] % 2}


class Measured(make_branching(Trainer)):
    """Saves as in a round, instead of once; what it keeps has names that are no state of its."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bt_rounds: list[dict[str, float]] = []
        self._bt_copies: list[torch.Tensor] = []
        self._bt_counted: list[Counter[str]] = []

    def _save_checkpoint(self, model: Any, trial: Any, *args: Any, **kwargs: Any) -> None:
        committer = self._bt_session.committer
        committer.free.wait()
        if self.state.global_step % _EVERY:
            super()._save_checkpoint(model, trial, *args, **kwargs)
            return
        found: dict[str, float] = {}
        kinds: dict[str, Callable[[], object]] = {
            "m": lambda: [_memmove(*pair) for pair in self._pairs(committer)],
            "t": lambda: torch._foreach_copy_(
                *map(list, zip(*self._pairs(committer), strict=True))
            ),
            "b": lambda: super(Measured, self)._save_checkpoint(model, trial),
            "s": lambda: Trainer._save_checkpoint(self, model, trial),
        }
        for kind in _ORDERS[len(self._bt_rounds) % len(_ORDERS)]:
            with counted() as counts:
                before = time.perf_counter()
                kinds[kind]()
                found[kind] = 1e3 * (time.perf_counter() - before)
                committer.free.wait()
                found[f"{kind} durable"] = 1e3 * (time.perf_counter() - before)
            if kind == "b":
                self._bt_counted.append(counts)
        self._bt_rounds.append(found)

    def _pairs(self, committer: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
        targets = list({id(one): one.tensor for one in committer._buffers._held.values()}.values())
        if [t.shape for t in targets] != [c.shape for c in self._bt_copies]:
            # Not in the first save, which is left out.
            self._bt_copies = [target.clone() for target in targets]
        return list(zip(targets, self._bt_copies, strict=True))

    @property
    def state_bytes(self) -> int:
        """Bytes of what one snapshot copies."""
        return sum(copy.nbytes for copy in self._bt_copies)


def _memmove(target: torch.Tensor, source: torch.Tensor) -> None:
    ctypes.memmove(target.data_ptr(), source.data_ptr(), source.nbytes)


def bert() -> BertForSequenceClassification:
    """A model of 22 million parameters."""
    torch.manual_seed(0)
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}
    return BertForSequenceClassification(BertConfig(**shape, intermediate_size=1536))


def train(folder: Path, rounds: int) -> Measured:
    """Train with one more save than rounds."""
    options = TrainingArguments(
        output_dir=str(folder / "output"),
        run_name="bench",
        max_steps=_EVERY * (rounds + 1) + 1,
        per_device_train_batch_size=2,
        logging_steps=1,
        save_steps=_EVERY,
        save_total_limit=1,
        weight_decay=0.01,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = Measured(bert(), options, train_dataset=Words())
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return trainer


def measure(rounds: int) -> Result:
    """One training, and the memory of commits alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    try:
        with tempfile.TemporaryDirectory() as name:
            home = {HOME_VARIABLE: str(Path(name) / "home")}
            with mock.patch.dict(os.environ, home):
                memory = resident.growth(Path(name), bert())
                trainer = train(Path(name), rounds)
                told = copies_told()
        return summarise(trainer, memory, told)
    finally:
        torch.set_num_threads(threads)


def copies_told() -> list[float]:
    """The series in which the run itself tells how long its copies took, in order of steps."""
    database = open_database(config.load())
    with database.read() as connection:
        run = runs.find_run(connection, "bench")
        mine = [segment.id for segment in segments.list_of_run(connection, run.id)]
        found = metrics.read(connection, mine, COPY_MS)
    database.close()
    return [float(value) for value in found[mine[0]].values]


def summarise(trainer: Measured, memory: float, told: list[float]) -> Result:
    """Medians of all rounds but the first; ``told`` as of `copies_told`."""
    first, *kept = trainer._bt_rounds
    names = ("fsync", "replace", "transactions")
    counts = {n: statistics.median(c[n] for c in trainer._bt_counted[1:]) for n in names}
    # SQLite syncs its log once a transaction.
    counts["syncs"] = counts["fsync"] + counts["transactions"]

    def median(key: str) -> float:
        return statistics.median(one[key] for one in kept)

    memcpy = min("mt", key=median)
    return Result(
        rounds=len(kept),
        state_mb=trainer.state_bytes / 1e6,
        memcpy_ms=median("m"),
        torch_copy_ms=median("t"),
        stall_ms=median("b"),
        stock_ms=median("s"),
        durable_ms=median("b durable"),
        root_ms=told[0],
        second_ms=first["b"],
        stall_to_memcpy=statistics.median(one["b"] / one[memcpy] for one in kept),
        stock_to_stall=statistics.median(one["s"] / one["b"] for one in kept),
        memory=memory,
        counts=counts,
        each=kept,
        machine=f"{os.cpu_count()} cores, torch {torch.__version__}",
    )


def table(result: Result) -> str:
    """The result as a table in Markdown."""
    counts = result.counts
    rows = [
        ("state of training", f"{result.state_mb:.1f} MB", ""),
        ("(a) memcpy into the same buffers, one thread", f"{result.memcpy_ms:.1f} ms", ""),
        ("(a) the same by torch, all threads", f"{result.torch_copy_ms:.1f} ms", ""),
        ("(b) stall of a commit", f"{result.stall_ms:.1f} ms", ""),
        ("(c) stock `_save_checkpoint`", f"{result.stock_ms:.1f} ms", ""),
        ("stall / memcpy", f"{result.stall_to_memcpy:.2f}", f"<= {STALL}"),
        ("stock / stall", f"{result.stock_to_stall:.1f}", f">= {STOCK:g}"),
        ("memory / state", f"{result.memory:.3f}", f"<= {MEMORY}"),
        ("fsyncs, SQLite's among them", f"{counts['syncs']:g}", f"<= {FSYNCS}"),
        ("packs, transactions", f"{counts['replace']:g}, {counts['transactions']:g}", "1, 1"),
        ("durable after", f"{result.durable_ms:.0f} ms", ""),
        ("stall of the root's commit, weights alone", f"{result.root_ms:.1f} ms", ""),
        ("stall of the second commit", f"{result.second_ms:.1f} ms", ""),
        ("rounds", str(result.rounds), result.machine),
    ]
    lines = [f"| {name} | {value} | {target} |" for name, value, target in rows]
    return "\n".join(["| quantity | measured | target |", "| --- | --- | --- |", *lines])


def write(result: Result, folder: Path) -> None:
    """Write ``snapshot.md`` and ``snapshot.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "snapshot.md").write_text(table(result) + "\n", encoding="utf-8")
    text = json.dumps(asdict(result), indent=2)
    (folder / "snapshot.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--to", type=Path, default=Path("output/bench"))
    options = parser.parse_args()
    result = measure(options.rounds)
    write(result, options.to)
    print(table(result))


if __name__ == "__main__":
    main()
