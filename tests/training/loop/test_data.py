"""The place of a plain loop in its data, also where batches or seed are others than before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.matrices import some
from tests.training import loops
from tests.training.homes import Home
from tests.training.loop_changes import obeyed


@pytest.mark.parametrize("kind", [loops.Points, loops.Flow])
@pytest.mark.parametrize("size", some([2, 3, 8, 26], 3, 26))
def test_each_sample_of_the_epoch_is_used_once(kind: Any, size: int, home: Home) -> None:
    used: list[list[int]] = [[], []]

    class Kept(kind):
        """Says which sample it is."""

    def data() -> Any:
        made = loops.loader("random", kind())
        inner = made.dataset.points if kind is loops.Flow else made.dataset
        read.append(inner.read)
        return made

    read: list[list[int]] = []
    loops.train(home, data=data, max_steps=3)
    length = 3 + 40 // size + 4
    launch = home.order(home.node(3), {"batch_size": size, "max_steps": length})
    run = loops.train(home, launch, data=data, max_steps=3)
    used = [read[0][:12], read[1]]
    skipped = 12 if kind is loops.Flow else 0
    rest = used[1][skipped : skipped + loops.SAMPLES - 12]
    assert sorted(used[0] + rest) == list(range(loops.SAMPLES))
    following = used[1][skipped + loops.SAMPLES - 12 :][: loops.SAMPLES]
    assert sorted(following) == list(range(loops.SAMPLES)), "the next epoch is whole"
    assert obeyed(home, launch)["batch_size"] == size and run.step_number == length
    again = home.order(next(n for n in home.nodes(launch.branch_id) if n.step == 5))
    loops.train(home, again, data=data, max_steps=3)
    assert home.final(again).state_digest == home.final(launch).state_digest


def test_another_seed_keeps_the_rest_of_the_epoch(home: Home) -> None:
    read: list[list[int]] = []

    def data() -> Any:
        made = loops.loader()
        read.append(made.dataset.read)
        return made

    loops.train(home, data=data, max_steps=16, save_steps=3)
    launch = home.order(home.node(3), {"seed": 7})
    loops.train(home, launch, data=data, max_steps=16, save_steps=3)
    assert read[1][:14] == read[0][12:26] and read[1][14:40] != read[0][26:52]
    assert sorted(read[1][14:40]) == sorted(read[0][26:52])
    assert obeyed(home, launch)["seed"] == 7
    assert home.final(launch).state_digest != home.final().state_digest
