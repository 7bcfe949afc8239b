"""Whether the verdicts of trials are right, measured with real forks on three small tasks.

    python -m tests.benchmarks.bench_trials [--quick] [--out output/bench/trials]

(a) False verdicts: trials in which nothing is changed. Their sides have other seeds, so that all
    that differs is noise, and the verdicts `helps` and `hurts` are false. Beside them pairs with
    the same seed, which must end in the same bits.
(b) Known effects: one trial of five changes on each task, from one node, against what independent
    trainings from scratch show; and how many fewer pairs than independent ones are needed.

What was measured is kept in the folder, part by part: started again it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import trial_report
from tests.benchmarks.trial_tasks import TASKS, from_scratch, trunk_of

#: As a resume takes them.
CHANGES: dict[str, dict[str, Any]] = {
    "lr x0.9": {"lr": "x0.9"},
    "lr x0.5": {"lr": "x0.5"},
    "lr x3": {"lr": "x3"},
    "weight decay x10": {"weight_decay": "x10"},
    "dropout 0.3": {"dropout": 0.3},
}


@dataclass(frozen=True)
class Size:
    """How much is measured; ``nodes`` are the tasks of the trunks that A/A trials begin at.

    ``trials`` are those of each node, ``same`` its pairs with one seed, ``forked`` and
    ``independent`` the pairs of each change.
    """

    nodes: tuple[str, ...] = (*("digits", "regression") * 4, "text", "text")
    trials: int = 20
    same: int = 5
    repeats: int = 8
    steps_aa: int = 50
    steps: int = 100
    forked: int = 24
    independent: int = 60
    tasks: tuple[str, ...] = tuple(TASKS)


QUICK = Size(("digits",), 3, 1, 8, 20, 30, 8, 10, ("digits", "regression"))


def measure_none(size: Size, number: int) -> dict[str, Any]:
    """Return the ends of A/A trials at one node: trial, pair, side; and of pairs of one seed."""
    name = size.nodes[number]
    with trunk_of(TASKS[name], 1000 + number, size.steps_aa) as trunk:
        started = time.perf_counter()
        trials = [
            [
                [asdict(trunk.fork({}, seed_of(number, trial, pair, side))) for side in (0, 1)]
                for pair in range(size.repeats)
            ]
            for trial in range(size.trials)
        ]
        seconds = (time.perf_counter() - started) / (size.trials * size.repeats * 2)
        same = [
            [asdict(trunk.fork({}, seed_of(number, "same", pair))) for _side in (0, 1)]
            for pair in range(size.same)
        ]
        plain = [asdict(trunk.end), asdict(trunk.fork({}, None))]
    return {"task": name, "seconds": seconds, "trials": trials, "same": same, "plain": plain}


def measure_forks(size: Size, name: str) -> list[list[dict[str, Any]]]:
    """Return the ends of pairs from one node: the control and each change, all with one seed."""
    with trunk_of(TASKS[name], 1, size.steps) as trunk:
        return [
            [
                asdict(trunk.fork(settings, seed_of(name, pair)))
                for settings in ({}, *CHANGES.values())
            ]
            for pair in range(size.forked)
        ]


def measure_scratch(size: Size, name: str) -> list[list[float | None]]:
    """Return losses from scratch: of the control, and with another seed of each change."""
    rows = []
    for pair in range(size.independent):
        control = from_scratch(TASKS[name], seed_of(name, "control", pair), size.steps, [{}])
        seed = seed_of(name, "changed", pair)
        changed = from_scratch(TASKS[name], seed, size.steps, list(CHANGES.values()))
        rows.append([*control, *changed])
    return rows


def seed_of(*words: object) -> int:
    """Return a seed that nothing else here has."""
    return zlib.crc32(":".join(map(str, words)).encode())


def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Measure what the folder does not have yet, and return everything."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    size_file = folder / "size.json"
    facts = {**asdict(size), "changes": CHANGES}
    _kept(size_file, lambda: facts)
    if json.loads(size_file.read_text()) != json.loads(json.dumps(facts)):
        raise SystemExit(f"{folder} has measurements of another size: choose another folder.")
    effects = {}
    for name in size.tasks:
        forks = _kept(folder / f"forks-{name}.json", lambda name=name: measure_forks(size, name))
        scratch = _kept(
            folder / f"scratch-{name}.json", lambda name=name: measure_scratch(size, name)
        )
        effects[name] = {"forks": forks, "scratch": scratch}
    none = [
        _kept(folder / f"none-{number}.json", lambda number=number: measure_none(size, number))
        for number in range(len(size.nodes))
    ]
    return {"size": facts, "none": none, "effects": effects}


def _kept(path: Path, work: Callable[[], Any]) -> Any:
    """Return what a file has; if it does not exist, do the work and write it."""
    if not path.exists():
        started = time.perf_counter()
        written = path.with_suffix(".part")
        written.write_text(json.dumps(work()))
        written.replace(path)
        print(f"{path.name}: {time.perf_counter() - started:.0f} s", flush=True)
    return json.loads(path.read_text())


def main() -> None:
    """Measure, and write tables, JSON and the picture into the folder."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="a small variant, in a minute")
    parser.add_argument("--out", type=Path, default=Path("output/bench/trials"))
    options = parser.parse_args()
    folder = options.out / "quick" if options.quick else options.out
    print(trial_report.write(measure(QUICK if options.quick else Size(), folder), folder))


if __name__ == "__main__":
    main()
