"""The order of samples is drawn again from the seed, the generators and the size it had."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import DataLoader

from branchtrack.training.data.sample_order import SampleOrder


def order_of(loader: DataLoader[Any], *, lends_generator: bool = False) -> SampleOrder:
    return SampleOrder(loader, loader.batch_sampler, lends_generator=lends_generator)


def seeded(**options: Any) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(5)
    return DataLoader(range(8), shuffle=True, generator=generator, **options)


def test_a_generator_of_loader_and_sampler_is_stored_once_and_restored() -> None:
    loader = seeded()
    order = order_of(loader)
    (state,) = states = order.capture()
    assert loader.generator is not None
    drawn = torch.rand(1, generator=loader.generator)
    assert not order.capture()[0].equal(state)
    order.restore(states)
    assert torch.rand(1, generator=loader.generator) == drawn


def test_a_generator_that_is_lent_is_not_the_scripts() -> None:
    loader = DataLoader(range(8), generator=torch.Generator())
    assert len(order_of(loader).capture()) == 1
    assert order_of(loader, lends_generator=True).capture() == []


def test_a_loader_without_an_order_has_no_sampler() -> None:
    order = SampleOrder(seeded(), None, lends_generator=True)
    assert order.sampler is None and order.size is None and order.seed is None
    order.seed = 3
    assert order.seed is None


def test_a_sampler_with_a_seed_of_its_own_gets_another() -> None:
    sampler = SimpleNamespace(initial_seed=1, generator=torch.Generator())
    order = SampleOrder(seeded(), SimpleNamespace(sampler=sampler), lends_generator=True)
    assert order.capture() == [], "the seed alone makes its order"
    order.seed = None
    assert order.seed == 1
    order.reseed(7)
    assert order.seed == 7


def test_another_size_holds_from_the_next_order_on() -> None:
    sampler = SimpleNamespace(batch_size=4)
    order = SampleOrder(seeded(), SimpleNamespace(sampler=sampler), lends_generator=True)
    order.resize(3, 6)
    assert order.next_size is None, "it was drawn for other numbers"
    order.resize(4, 8)
    assert (order.size, order.next_size) == (4, 8)
    order.take_next_size()
    assert (order.size, order.next_size) == (8, None)
    order.return_to_size(4)
    assert (order.size, order.next_size) == (4, 8)
