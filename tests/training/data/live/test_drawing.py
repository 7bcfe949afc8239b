"""Draws: a function of seed, composition and position, in the proportions of the weights."""

from __future__ import annotations

from collections import Counter

import pytest

from branchtrack.core.shards.composition import Composition, Shard
from branchtrack.training.data.live import drawing
from branchtrack.training.data.live.drawing import Draws

CODE = Shard("code", 1.0, "1" * 64, 100)
PROSE = Shard("prose", 3.0, "2" * 64, 40)


def picks(composition: Composition, count: int = 2000, seed: int = 0) -> list[tuple[int, int]]:
    draws = Draws(seed, composition)
    return [draws.pick(position) for position in range(count)]


def test_shards_are_drawn_by_weight_and_items_in_rounds() -> None:
    drawn = picks(Composition((CODE, PROSE)))
    assert 400 < sum(number == 0 for number, _item in drawn) < 600
    items = [item for number, item in drawn if number == 1]
    first, second = items[:40], items[40:80]
    assert sorted(first) == sorted(second) == list(range(40)) and first != second


def test_any_position_alone_is_what_it_is_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "BLOCK", 64)
    both = Composition((CODE, PROSE))
    drawn = picks(both)
    for position in (1999, 5, 640, 63, 64):
        assert Draws(0, both).pick(position) == drawn[position]
    backwards = Draws(0, both)
    assert [backwards.pick(position) for position in reversed(range(2000))] == drawn[::-1]


def test_another_seed_draws_others() -> None:
    assert picks(Composition((CODE, PROSE)), seed=1) != picks(Composition((CODE, PROSE)))


def test_a_shard_of_weight_zero_is_never_drawn() -> None:
    none = Shard("none", 0.0, "3" * 64, 5)
    drawn = Counter(number for number, _item in picks(Composition((none, CODE, none))))
    assert drawn == {1: 2000}


def test_the_order_within_a_shard_is_that_of_its_content_whatever_else_is_there() -> None:
    alone = [item for _number, item in picks(Composition((PROSE,)), 40)]
    renamed = Shard("other", 3.0, "2" * 64, 40)
    among = [item for number, item in picks(Composition((CODE, renamed))) if number == 1]
    assert among[:40] == alone


def test_few_blocks_and_orders_are_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "BLOCK", 8)
    draws = Draws(0, Composition((Shard("one", 1.0, "4" * 64, 2), PROSE)))
    for position in range(4000):
        draws.pick(position)
    assert len(draws._blocks) <= drawing.KEPT_BLOCKS
    assert len(draws._orders) <= 2 * 2 + drawing.KEPT_BLOCKS
