"""Shards added, removed and reweighted in training: the samples of a resume are those of the run.

With a Trainer and with a plain loop, with batches made in the process itself and by two workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import branchtrack
from branchtrack.analysis.payloads_shards import branch_data
from branchtrack.core.records import Launch, Node
from branchtrack.errors import CheckpointMismatch, DataChanged, InvalidInput
from tests.matrices import some
from tests.training import loops, tiny
from tests.training.callbacks import At
from tests.training.homes import Home
from tests.training.test_controlling import ask, asking

#: The step at which the request to change the data is answered, and the end.
CHANGED, STEPS = 4, 8
NAMES = ("code", "prose", "chat")
WAYS = ("loop-0", "loop-2", "trainer-0", "trainer-2")


def write_shards(folder: Path) -> None:
    """Write one file of numbers for each shard: those of the second are 1,000 higher."""
    for number, name in enumerate(NAMES):
        lines = "\n".join(str(1000 * number + line) for line in range(30))
        (folder / f"{name}.txt").write_text(lines)


def dataset(folder: Path, of: str, **given: Any) -> Any:
    """Return a dataset of two of the shards, with items for a loop or for a Trainer."""
    shards = {name: folder / f"{name}.txt" for name in NAMES[:2]}
    weights = {"code": 1, "prose": 3}
    return branchtrack.LiveDataset(
        shards, weights, length=200, transform=point if of == "loop" else tokens, **given
    )


def point(line: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a vector with a class, from a number."""
    x = torch.randn(6, generator=torch.Generator().manual_seed(int(line)))
    return x, (x.sum() > 0).long()


def tokens(line: str) -> dict[str, torch.Tensor]:
    """Return tokens with their labels, from a number."""
    ids = torch.randint(0, 50, (16,), generator=torch.Generator().manual_seed(int(line)))
    return {"input_ids": ids, "labels": ids}


class Training:
    """One way to train in a home: a loop or a Trainer, with so many workers."""

    def __init__(self, home: Home, way: str) -> None:
        self.home = home
        self.kind, workers = way.split("-")
        self.workers = int(workers)
        write_shards(home.folder)

    def train(self, launch: Launch | None = None, change: dict[str, Any] | None = None) -> None:
        """Train to the end; ``change`` is requested for the control point of step `CHANGED`."""
        request = ask("data", **change) if change else None
        data = dataset(self.home.folder, self.kind)
        if self.kind == "loop":
            asking_for = {"at": asking(self.home, {CHANGED: [request]})} if request else {}
            loops.train(
                self.home,
                launch,
                data=lambda: DataLoader(data, 4, shuffle=True, num_workers=self.workers),
                max_steps=STEPS,
                **asking_for,
            )
            return
        waits = [At(CHANGED - 1, lambda: request(self.home))] if request else []
        trainer = tiny.trainer(
            tiny.BranchingTrainer,
            self.home.folder,
            data=data,
            evaluated=False,
            callbacks=lambda: waits,
            max_steps=STEPS,
            save_steps=1,
            dataloader_num_workers=self.workers,
        )
        for wait in waits:
            wait.trainer = trainer
        self.home.run(trainer, launch)

    def resume(self, node: Node) -> Node:
        """Train from a node to the end; return the final node."""
        launch = self.home.order(node)
        self.train(launch)
        return self.home.final(launch)

    def data(self, branch: str = "tiny/main") -> dict[str, Any]:
        """What `branchtrack data` says of a branch."""
        with self.home.database.read() as connection:
            return branch_data(connection, self.home.branch(branch))


@pytest.fixture(scope="module", params=some(WAYS, "loop-0", "trainer-2"))
def changed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Training]:
    """A training to which a shard was added at step `CHANGED`."""
    home = Home(tmp_path_factory.mktemp("changed"))
    training = Training(home, request.param)
    added = str(home.folder / "chat.txt")
    training.train(change={"add": {"chat": added}, "weights": {"chat": 4}})
    yield training
    home.close()


def test_an_added_shard_is_drawn_from_the_next_sample_on_and_verified(changed: Training) -> None:
    (request,) = changed.home.requests()
    assert request.state == "verified", request.error
    node = changed.home.node(CHANGED, kind="intervention")
    (change,) = node.changes
    assert change.name == "data.shards"
    assert change.before.startswith("code:1 prose:3 @")
    assert change.after.startswith("code:1 prose:3 chat:4 @")
    facts = changed.data()
    samples = {shard["name"]: shard["samples"] for shard in facts["shards"]}
    assert sum(samples.values()) == facts["samples"] == 4 * STEPS
    assert 4 <= samples["chat"] <= 4 * (STEPS - CHANGED)
    assert [change["step"] for change in facts["changes"]] == [0, CHANGED]


@pytest.mark.parametrize("step", [2, CHANGED, 6])
def test_a_resume_draws_what_the_uninterrupted_training_drew(changed: Training, step: int) -> None:
    home = changed.home
    node = [n for n in home.nodes() if n.step == step][-1]
    final = changed.resume(node)
    fork = next(n for n in home.nodes(final.branch_id) if n.kind == "fork")
    assert fork.compared is not None and fork.compared["state"] == "equal"
    is_alike = final.state_digest == home.final().state_digest
    # The older node goes on with the data that it had.
    assert is_alike == (step >= CHANGED)
    shards = [shard["name"] for shard in changed.data(final.branch_id)["shards"]]
    assert ("chat" in shards) == (step >= CHANGED)


def test_an_older_node_goes_on_as_if_the_shard_had_never_come(
    changed: Training, tmp_path: Path
) -> None:
    without = Training(Home(tmp_path), f"{changed.kind}-{changed.workers}")
    without.train()
    resumed = changed.resume(changed.home.node(3))
    assert resumed.state_digest == without.home.final().state_digest
    without.home.close()


def test_a_shard_that_changed_or_vanished_is_named_and_nothing_is_trained(
    changed: Training,
) -> None:
    path = changed.home.folder / "chat.txt"
    before = path.read_text()
    node = changed.home.node(6)
    for content in ("1\n2\n3\n", None):
        path.unlink() if content is None else path.write_text(content)
        launch = changed.home.order(node)
        with pytest.raises((DataChanged, CheckpointMismatch), match="chat"):
            changed.train(launch)
        assert [n.kind for n in changed.home.nodes(launch.branch_id)] in ([], ["fork"])
    path.write_text(before)
    assert changed.resume(node).state_digest == changed.home.final().state_digest


def test_samples_of_every_branch_are_counted_by_shard(changed: Training) -> None:
    final = changed.resume(changed.home.node(6))
    facts = changed.data(final.branch_id)
    own = Counter({shard["name"]: shard["own_samples"] for shard in facts["shards"]})
    assert sum(own.values()) == 4 * (STEPS - 6)
    whole = {shard["name"]: shard["samples"] for shard in facts["shards"]}
    assert whole == {shard["name"]: shard["samples"] for shard in changed.data()["shards"]}


def test_a_resume_with_other_weights_draws_by_them(changed: Training) -> None:
    home = changed.home
    launch = home.order(home.node(6), {"data.shards": "code:0 -prose"})
    changed.train(launch)
    fork = home.fork(launch)
    assert fork.effective is not None and fork.effective["obeyed"], fork.effective
    final = home.final(launch)
    assert final.settings["data.shards"].startswith("code:0 chat:4 @")
    own = {s["name"]: s["own_samples"] for s in changed.data(final.branch_id)["shards"]}
    assert own == {"code": 0, "chat": 4 * (STEPS - 6), "prose": 0}
    with pytest.raises(InvalidInput, match="chat, code|code, prose"):
        home.order(home.node(6), {"data.shards": "forum:1"})


def test_a_stretch_with_an_added_shard_is_certified(changed: Training) -> None:
    home = changed.home
    certificate = home.rehearse(home.node(2), home.final(), lambda **_: changed.train())
    assert certificate is not None and certificate.difference is None
