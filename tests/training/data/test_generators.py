"""Generators that objects keep are found, stored by their path and restored, late ones too."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from branchtrack.training.data.generators import Generators

KINDS: dict[str, Any] = {
    "torch": torch.Generator,
    "python": random.Random,
    "numpy": lambda: np.random.default_rng(7),
    "numpy legacy": lambda: np.random.RandomState(7),
}
BY_KIND = pytest.mark.parametrize("kind", KINDS)


def draw(generator: Any) -> float:
    if isinstance(generator, torch.Generator):
        return float(torch.rand((), generator=generator))
    return float(generator.random())


def dataset(**attributes: Any) -> Any:
    return SimpleNamespace(**attributes)


@BY_KIND
def test_a_generator_draws_again_what_it_drew(kind: str) -> None:
    rows = dataset(generator=KINDS[kind]())
    generators = Generators(dataset=rows)
    states = generators.capture()
    assert list(states) == ["dataset.generator"]
    drawn = draw(rows.generator)
    generators.restore(states)
    assert draw(rows.generator) == drawn


@BY_KIND
def test_a_generator_that_is_not_made_yet_is_made(kind: str) -> None:
    rows = dataset(transforms=[dataset(generator=KINDS[kind]())])
    states = Generators(dataset=rows).capture()
    expected = draw(rows.transforms[0].generator)
    fresh = dataset(transforms=[dataset()])
    Generators(dataset=fresh).restore(states)
    assert draw(fresh.transforms[0].generator) == expected


@BY_KIND
def test_a_seed_decides_all_that_is_drawn_after_it(kind: str) -> None:
    drawn = []
    for key in ((1, 2), (1, 2), (1, 3)):
        rows = dataset(generator=KINDS[kind]())
        draw(rows.generator)
        Generators(dataset=rows).seed(*key)
        drawn.append(draw(rows.generator))
    assert drawn[0] == drawn[1] != drawn[2]


def test_two_generators_with_one_seed_draw_different_numbers() -> None:
    rows = dataset(a=random.Random(), b=random.Random())
    Generators(dataset=rows).seed(1)
    assert draw(rows.a) != draw(rows.b)


def test_a_generator_that_two_objects_share_is_stored_once() -> None:
    shared = random.Random()
    generators = Generators(dataset=dataset(rng=shared), collate=dataset(rng=shared))
    assert list(generators.capture()) == ["dataset.rng"]


def test_one_made_since_the_last_look_is_stored_only_on_a_look() -> None:
    rows = dataset()
    generators = Generators(dataset=rows)
    generators.capture()
    rows.late = random.Random()
    assert generators.capture(look=False) == {}
    assert list(generators.capture()) == ["dataset.late"]


def test_objects_that_hold_each_other_and_deep_ones_come_to_an_end() -> None:
    rows = dataset(rng=random.Random())
    rows.itself = rows
    deep = dataset(a=dataset(b=dataset(c=dataset(d=dataset(e=dataset(rng=random.Random()))))))
    assert list(Generators(dataset=rows, none=None).capture()) == ["dataset.rng"]
    assert Generators(dataset=deep).capture() == {}
