"""Every way of feeding a Trainer that a resume has to be exact for, and a few that cover all pairs.

The dimensions are those in which a stock resume goes wrong somewhere. With 26 samples in batches
of 4 an epoch has 7 batches, the last of 2; accumulation of 3 and 4 leaves a remainder.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tests.training import tiny

SAMPLES = 26
DIMENSIONS: dict[str, tuple[Any, ...]] = {
    "data": ("map", "one pass", "many passes"),
    "order": ("random", "unseeded", "group_by_length", "sequential"),
    "draws": ("nothing", "python", "numpy", "torch"),
    "workers": (0, 2),
    "accumulation": (1, 3, 4),
    "evaluation": ("off", "every 2"),
    "noise": ("dropout", "neftune"),
}
STEPS = {1: 16, 3: 8, 4: 5}
Case = dict[str, Any]


def name_of(case: Case) -> str:
    """A case as a test's id."""
    return "-".join(str(value).replace(" ", "_") for value in case.values())


def cases() -> list[Case]:
    """Every combination; an iterable dataset has an order of its own."""
    found = [
        dict(zip(DIMENSIONS, values, strict=True))
        for values in itertools.product(*DIMENSIONS.values())
    ]
    return [case for case in found if case["data"] == "map" or case["order"] == "sequential"]


def covering() -> list[Case]:
    """A few of the cases in which every pair of values that any case has is had by one."""
    left, chosen = cases(), []
    wanted = {pair for case in left for pair in _pairs(case)}
    while wanted:
        best = max(left, key=lambda case: len(wanted & _pairs(case)))
        chosen.append(best)
        wanted -= _pairs(best)
    return chosen


def representative() -> list[Case]:
    """A few of the cases in which every value of every dimension is had by one."""
    left = covering()
    chosen: list[Case] = []
    missing = {item for case in left for item in case.items()}
    while missing:
        best = max(left, key=lambda case: len(missing & set(case.items())))
        chosen.append(best)
        missing -= set(best.items())
    return chosen


def how(case: Case) -> dict[str, Any]:
    """What `tiny.trainer` makes of a case."""
    accumulation = case["accumulation"]
    items = SAMPLES if case["data"] != "one pass" else STEPS[accumulation] * accumulation * 4
    kind = Items if case["data"] == "map" else Stream
    given: dict[str, Any] = {
        "data": kind(items, case["draws"]),
        "held_out": Items(8, "torch"),
        "collator": padded,
        "max_steps": STEPS[accumulation],
        "gradient_accumulation_steps": accumulation,
        "dataloader_num_workers": case["workers"],
        "save_steps": 1,
        "logging_steps": 3,
    }
    if case["order"] == "unseeded":
        given["accelerator_config"] = {"use_seedable_sampler": False}
    elif case["order"] != "random":
        given["train_sampling_strategy"] = case["order"]
    if case["evaluation"] == "every 2":
        given |= {"eval_strategy": "steps", "eval_steps": 2}
    if case["noise"] == "neftune":
        given["neftune_noise_alpha"] = 5.0
    return given


def padded(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch of sentences, made as long as the longest."""
    found = torch.nn.utils.rnn.pad_sequence([s["input_ids"] for s in samples], batch_first=True)
    return {"input_ids": found, "labels": found}


def draw(kind: str) -> float:
    """A number between 0 and 1 of one of the generators, or 0."""
    draws = {
        "python": random.random,
        "numpy": lambda: float(np.random.rand()),
        "torch": lambda: float(torch.rand(())),
    }
    return draws[kind]() if kind in draws else 0.0


class Items(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Sentences of 9 to 16 tokens, each changed by a random number when it is read."""

    def __init__(self, count: int, draws: str) -> None:
        self.sentences, self.draws, self.count = tiny.Sentences(), draws, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index >= self.count:
            raise IndexError(index)
        tokens = self.sentences[index]["input_ids"][: 9 + index % 8]
        return {"input_ids": (tokens + int(50 * draw(self.draws))) % 50}


class Stream(torch.utils.data.IterableDataset[dict[str, torch.Tensor]]):
    """The same without a length, shared among workers."""

    def __init__(self, count: int, draws: str) -> None:
        self.items, self.count = Items(count, draws), count

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for index in range(first, self.count, step):
            yield self.items[index]


def _pairs(case: Case) -> set[tuple[Any, ...]]:
    return set(itertools.combinations(case.items(), 2))
