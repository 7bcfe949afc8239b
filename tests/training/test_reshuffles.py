"""A resume that draws the rest of its epoch anew, and what is resumed within that epoch."""

from __future__ import annotations

from typing import Any

import pytest

import branchtrack
from branchtrack.core.records import Launch
from branchtrack.errors import InvalidInput
from branchtrack.training.data.redraws import WORDS
from tests.training import loops, tiny
from tests.training.homes import Home
from tests.training.test_loop_exactness import Listed, fed, points

#: Of 26 samples in batches of 4, the first pass has 7 updates; the node lies within it.
AT, STEPS = 2, 16
ANEW = {"seed": 7, "reshuffle": True}
CASES: dict[str, dict[str, Any]] = {
    "random": {},
    "python draws": {"data": fed("random", points("python"))},
    "a generator": {"data": fed("generator", points("torch"))},
    "workers": {"data": fed("random", points("torch"), num_workers=2)},
    "workers that stay": {
        "data": fed("random", points("numpy"), num_workers=2, persistent_workers=True)
    },
    "accumulation": {"accumulation": 2, "max_steps": 8},
    "a mixture in order": {
        "data": fed("sequential", lambda: branchtrack.mixture({"a": loops.Points()}, seed=1))
    },
    "a live dataset in order": {
        "data": fed("sequential", lambda: branchtrack.LiveDataset({"a": loops.Points()}, seed=1))
    },
    "the last batch dropped": {"data": fed("random", None, drop_last=True)},
}


class Reading:
    """What the loops made with `data` have read, each a list of samples."""

    def __init__(self, order: str = "random") -> None:
        self.read: list[list[int]] = []
        self._order = order

    def data(self) -> Any:
        made = loops.loader(self._order)
        self.read.append(made.dataset.read)
        return made


def train(home: Home, launch: Launch | None = None, **how: Any) -> Any:
    loops.train(home, launch, **{"max_steps": STEPS, **how})
    return home.final(launch)


def nodes_of(home: Home, launch: Launch) -> list[Any]:
    return [node for node in home.nodes(launch.branch_id) if node.kind == "checkpoint"]


@pytest.mark.parametrize("case", CASES)
def test_what_is_resumed_within_a_redrawn_epoch_ends_in_the_same_bits(
    case: str, home: Home
) -> None:
    how = CASES[case]
    plain = train(home, **how)
    launch = home.order(home.node(AT), ANEW)
    final = train(home, launch, **how)
    assert final.state_digest != plain.state_digest
    assert (home.fork(launch).restored or {})["data position"] == WORDS
    for node in nodes_of(home, launch)[:7:2]:
        again = home.order(node)
        assert train(home, again, **how).state_digest == final.state_digest, node.step
    nested = home.order(nodes_of(home, launch)[0], {"seed": 9, "reshuffle": True})
    end = train(home, nested, **how)
    assert end.state_digest != final.state_digest
    inner = home.order(nodes_of(home, nested)[0])
    assert train(home, inner, **how).state_digest == end.state_digest


def test_the_same_samples_come_in_an_order_of_the_seed(home: Home) -> None:
    reading = Reading()
    train(home, data=reading.data)
    changes: list[dict[str, Any]] = [ANEW, {**ANEW, "lr": 0.01}, {**ANEW, "seed": 8}]
    finals = [
        train(home, home.order(home.node(AT), change), data=reading.data) for change in changes
    ]
    same = train(home, home.order(home.node(AT), ANEW), data=reading.data)
    plain, first, rate, other, again = reading.read
    plain = plain[loops.BATCH * AT :]
    left = loops.SAMPLES - loops.BATCH * AT
    assert first == rate == again and same.state_digest == finals[0].state_digest
    assert first[:left] != other[:left] and plain[:left] not in (first[:left], other[:left])
    assert sorted(first[:left]) == sorted(other[:left]) == sorted(plain[:left])


def test_the_seed_of_the_node_itself_may_be_the_one(home: Home) -> None:
    plain = train(home)
    seed = plain.settings["seed"]
    ends = [
        train(home, home.order(home.node(AT), {"seed": seed, "reshuffle": True})).state_digest
        for _ in range(2)
    ]
    assert ends[0] == ends[1] != plain.state_digest


def test_an_untrained_fork_is_redrawn_as_it_was_declared(home: Home) -> None:
    train(home)
    first = home.order(home.node(AT), ANEW)
    unchanged = home.order(home.fork(first))
    assert train(home, unchanged).state_digest == train(home, first).state_digest
    reading = Reading()
    train(home, home.order(home.fork(first), {"seed": 8}), data=reading.data)
    train(home, home.order(home.node(AT), ANEW), data=reading.data)
    left = loops.SAMPLES - loops.BATCH * AT
    assert reading.read[0][:left] == reading.read[1][:left], "another seed keeps the order"


def test_an_order_that_is_not_random_stays(home: Home) -> None:
    reading = Reading("sequential")
    train(home, data=reading.data)
    launch = home.order(home.node(AT), ANEW)
    train(home, launch, data=reading.data)
    assert reading.read[1] == reading.read[0][loops.BATCH * AT :]
    assert (home.fork(launch).restored or {})["data position"] == "restored"


def test_it_needs_a_seed(home: Home) -> None:
    train(home)
    with pytest.raises(InvalidInput, match="reshuffle together with seed"):
        home.order(home.node(AT), {"reshuffle": True})


SEEDED: dict[str, Any] = {
    "random": fed("random", points("torch"), num_workers=2),
    "generator": fed("generator", points("torch")),
    "iterable": fed("random", lambda: loops.Flow("torch")),
    "no loader": Listed,
}


@pytest.mark.parametrize("kind", SEEDED)
def test_a_resume_after_another_seed_draws_the_next_epoch_from_it(kind: str, home: Home) -> None:
    how = {"data": SEEDED[kind]}
    train(home, **how)
    launch = home.order(home.node(AT), {"seed": 7})
    final = train(home, launch, **how)
    for node in nodes_of(home, launch)[:6]:
        assert train(home, home.order(node), **how).state_digest == final.state_digest, node.step


def test_a_redrawn_stretch_is_certified(home: Home) -> None:
    train(home)
    launch = home.order(home.node(AT), ANEW)
    train(home, launch)
    made = nodes_of(home, launch)
    for start, target in ((home.fork(launch), made[3]), (made[0], made[3])):
        certificate = home.rehearse(start, target, lambda **_: loops.train(home, max_steps=STEPS))
        assert certificate is not None and certificate.difference is None


TRAINERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "workers": {"dataloader_num_workers": 2},
    "accumulation": {"gradient_accumulation_steps": 2, "max_steps": 7},
    "uneven": {"per_device_train_batch_size": 5},
}


@pytest.mark.parametrize("case", TRAINERS)
def test_a_trainer_resumes_within_a_redrawn_epoch_in_the_same_bits(case: str, home: Home) -> None:
    how = {"save_steps": 1, **TRAINERS[case]}
    home.train(**how)
    launch = home.order(home.node(1), ANEW)
    home.train(launch, **how)
    final = home.final(launch)
    assert final.state_digest != home.final().state_digest
    assert (home.fork(launch).restored or {})["data position"] == WORDS
    effective = home.fork(launch).effective
    assert effective is not None and effective["verified"] is True
    for node in nodes_of(home, launch)[:5:2]:
        again = home.order(node)
        home.train(again, **how)
        assert home.final(again).state_digest == final.state_digest, node.step
    nested = home.order(nodes_of(home, launch)[0], {"seed": 9, "reshuffle": True})
    home.train(nested, **how)
    inner = home.order(nodes_of(home, nested)[0])
    home.train(inner, **how)
    assert home.final(inner).state_digest == home.final(nested).state_digest
    made = nodes_of(home, nested)[1]
    certificate = home.rehearse(home.fork(nested), made, **how)
    assert certificate is not None and certificate.difference is None


def test_a_trainer_reads_what_is_left_once_each(home: Home) -> None:
    read: list[list[int]] = []

    class Kept(tiny.Sentences):
        """Says which sample it is."""

        def __getitem__(self, index: int) -> Any:
            read[-1].append(index)
            return super().__getitem__(index)

    def trained(launch: Launch | None = None) -> list[int]:
        read.append([])
        home.train(launch, save_steps=1, data=Kept(), evaluated=False)
        return read[-1]

    plain = trained()[: tiny.SAMPLES]
    left = tiny.SAMPLES - 2 * tiny.BATCH
    first, other, again = (
        trained(home.order(home.node(2), {"seed": seed, "reshuffle": True}))[:left]
        for seed in (7, 8, 7)
    )
    assert first == again != other
    assert sorted(first) == sorted(other) == sorted(plain[2 * tiny.BATCH :])
