"""Datasets, samplers and loaders of a script's own: a resume goes on where they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler
from transformers import Trainer

from branchtrack import make_branching
from tests.matrices import some
from tests.training import exact, matrix, tiny
from tests.training.callbacks import Do
from tests.training.homes import Home

ITEMS = [tiny.Sentences()[index] for index in range(26)]
#: Nodes in the first epoch and in the second.
SAVED: dict[str, Any] = {"save_steps": 5, "max_steps": 12}


class Augmented(Dataset[dict[str, torch.Tensor]]):
    """Shifts every sentence by what a generator of its own draws."""

    def __init__(self, draw: Callable[[Any], int], generator: Any) -> None:
        self.draw, self.parts = draw, [generator]

    def __len__(self) -> int:
        return len(ITEMS)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = (ITEMS[index]["input_ids"] + self.draw(self.parts[0])) % 50
        return {"input_ids": tokens, "labels": tokens}


class Reshuffled(IterableDataset[dict[str, torch.Tensor]]):
    """Draws the order of each pass from one generator."""

    def __init__(self) -> None:
        self.generator = random.Random(1)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        order = list(range(len(ITEMS)))
        self.generator.shuffle(order)
        return (ITEMS[index] for index in order)


class Masked:
    """A collate function that makes a generator of its own when it is first called."""

    generator: np.random.Generator | None = None

    def __call__(self, samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        if self.generator is None:
            self.generator = np.random.default_rng(9)
        labels = torch.stack([sample["labels"] for sample in samples])
        hidden = torch.from_numpy(self.generator.random(tuple(labels.shape)) < 0.2)
        return {"input_ids": labels.masked_fill(hidden, 1), "labels": labels}


class Batched(Sampler[list[int]]):
    """Batches without a size that anybody could read."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.own = generator

    def __len__(self) -> int:
        return 7

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(26, generator=self.own).tolist()
        for first in range(0, 26, 4):
            yield order[first : first + 4]


def fed_by(**loader: Any) -> Callable[[], dict[str, Any]]:
    """A Trainer that makes its own loader; what is callable is called for it."""

    class Own(Trainer):
        """Has a loader of its own."""

        def get_train_dataloader(self) -> Any:
            given = {name: one() if callable(one) else one for name, one in loader.items()}
            own = DataLoader(self.train_dataset, collate_fn=self.data_collator, **given)
            return self.accelerator.prepare(own)

    return lambda: {"kind": make_branching(Own), "data": ITEMS}


def numpy_draw(generator: Any) -> int:
    return int(generator.integers(50))


def torch_draw(generator: Any) -> int:
    return int(torch.randint(50, (), generator=generator))


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "a dataset with a numpy generator": lambda: {
        "data": Augmented(numpy_draw, np.random.default_rng(0)),
        "evaluated": False,
    },
    "a dataset with an old numpy generator": lambda: {
        "data": Augmented(lambda g: g.randint(50), np.random.RandomState(0)),
        "evaluated": False,
    },
    "a dataset with a python generator": lambda: {
        "data": Augmented(lambda g: g.randrange(50), random.Random(0)),
        "evaluated": False,
    },
    "a dataset with a torch generator, workers": lambda: {
        "data": Augmented(torch_draw, torch.Generator().manual_seed(0)),
        "evaluated": False,
        "dataloader_num_workers": 2,
    },
    "a stream with a generator": lambda: {"data": Reshuffled(), "evaluated": False},
    "a collate function with a generator": lambda: {
        "data": ITEMS,
        "collator": Masked(),
        "evaluated": False,
    },
    "batches of a sampler's own": fed_by(batch_sampler=Batched),
    "batches of a sampler with a generator": fed_by(
        batch_sampler=lambda: Batched(torch.Generator().manual_seed(3)), num_workers=2
    ),
    "a loader with a generator, workers": fed_by(
        batch_size=4,
        shuffle=True,
        num_workers=2,
        generator=lambda: torch.Generator().manual_seed(5),
    ),
    "balanced batches": lambda: {
        "data": matrix.Items(26, "nothing"),
        "collator": matrix.padded,
        "evaluated": False,
        "train_sampling_strategy": "batch_rebalance",
    },
}


@pytest.mark.parametrize(
    "case",
    some(
        CASES, "a dataset with a numpy generator", "a stream with a generator", "balanced batches"
    ),
)
def test_it_goes_on_where_it_was(case: str, home: Home) -> None:
    exact.agree(home, lambda: {**SAVED, **CASES[case]()}, (5, 10))


def test_workers_that_are_kept_draw_no_seed_at_later_passes(home: Home) -> None:
    how = {
        "data": matrix.Items(26, "torch"),
        "collator": matrix.padded,
        "evaluated": False,
        "dataloader_num_workers": 2,
        "dataloader_persistent_workers": True,
        "save_steps": 3,
        "max_steps": 9,
    }
    exact.agree(home, lambda: how, [3])


class Looking(tiny.BranchingTrainer):
    """Looks at a batch of another loader, made like that which it trains from, again and again."""

    def log(self, *args: Any, **kwargs: Any) -> None:
        next(iter(self.get_train_dataloader()))
        super().log(*args, **kwargs)


def peeping() -> list[Any]:
    """A callback that looks at batches of the loader that is trained from."""
    return [Do("on_step_end", None, lambda train_dataloader, **_: next(iter(train_dataloader)))]


BESIDE: dict[str, dict[str, Any]] = {
    "the loader itself": {"callbacks": peeping},
    "the loader itself, unseeded": {
        "callbacks": peeping,
        "accelerator_config": {"use_seedable_sampler": False},
    },
    "the loader of a stream": {
        "callbacks": peeping,
        "data": matrix.Stream(26, "torch"),
        "collator": matrix.padded,
        "evaluated": False,
    },
    "another loader": {"kind": Looking},
}


@pytest.mark.parametrize("what", some(BESIDE, "another loader"))
def test_who_reads_batches_beside_the_training_disturbs_no_resume(what: str, home: Home) -> None:
    exact.agree(home, lambda: {**SAVED, **BESIDE[what]}, (5, 10))
