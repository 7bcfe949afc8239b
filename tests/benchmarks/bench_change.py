"""What one change of the learning rate costs the thread that trains, by the depth of the model.

    python -m tests.benchmarks.bench_change [12 24 48] [--changes 9]

CPU time of the training thread from the control point of a change until it is proved, less that of
as many updates without one. The model is a GPT-2 of width 64 with its dropout modules (three in
each layer). ``copy_ms`` is the part that the node's copy of the state takes; a checkpoint without
any change takes that, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import branchtrack
from branchtrack import config, control
from branchtrack.db.schema import open_database
from branchtrack.environment_variables import HOME_VARIABLE

RUN = "depths"
#: Updates whose CPU time is that of an update without a change, before each request.
_PLAIN = 4


def change_ms(layers: int, changes: int = 9) -> dict[str, float]:
    """Milliseconds of CPU: of a change, of a checkpoint alone, and of two updates; medians."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get(HOME_VARIABLE)
        os.environ[HOME_VARIABLE] = folder
        try:
            times = _times(layers, changes)
        finally:
            del os.environ[HOME_VARIABLE]
            if before is not None:
                os.environ[HOME_VARIABLE] = before
    updates = statistics.median(times["updates"])
    copy = statistics.median(times["checkpoint"]) - updates
    change = statistics.median(times["change"]) - updates
    return {
        "layers": layers,
        "updates_ms": updates,
        "change_ms": change,
        "copy_ms": copy,
        "beside_the_copy_ms": change - copy,
    }


def _times(layers: int, changes: int) -> dict[str, list[float]]:
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=64,
        n_positions=16,
        n_embd=64,
        n_layer=layers,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, 64, (1, 8))
    times: dict[str, list[float]] = {"updates": [], "change": [], "checkpoint": []}
    with branchtrack.start(RUN, model=model, optimizer=optimizer) as run:

        def update() -> None:
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=0.0)
            run.step()

        for _ in range(5):
            update()
        database = open_database(config.load())
        for number in range(2 * changes):
            kind = "change" if number % 2 else "checkpoint"
            times["updates"] += [_cpu_ms(update) for _ in range(_PLAIN)]
            values = {"lr": 1e-3 * 0.9**number}
            payload: dict[str, Any] = {"kind": "set", "values": values}
            if kind == "checkpoint":
                payload = {"kind": "checkpoint"}
            request = control.submit(database, f"{RUN}/main", payload, actor="bench")
            _wait_until_polled(run)
            times[kind].append(_cpu_ms(update))
            with suppress(branchtrack.BranchtrackError):
                control.wait(database, request.id, timeout=60)
        database.close()
    # The first of each allocates what the others reuse.
    return {"updates": times["updates"], **{k: times[k][1:] for k in ("change", "checkpoint")}}


def _cpu_ms(update: Callable[[], None]) -> float:
    """Milliseconds of this thread's CPU that two updates take."""
    started = time.thread_time()
    update()
    update()
    return 1e3 * (time.thread_time() - started)


def _wait_until_polled(run: Any) -> None:
    inbox = run._session.recorder.inbox
    while not inbox.waiting:
        time.sleep(0.005)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layers", nargs="*", type=int, default=[12, 24, 48])
    parser.add_argument("--changes", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [change_ms(layers, arguments.changes) for layers in arguments.layers]
    text = json.dumps(rows, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text)


if __name__ == "__main__":
    main()
