"""A loop begins at its start, or where its node was, and says what it cannot go on from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training import rng
from branchtrack.training.data.growth import LENGTH
from branchtrack.training.loop import beginning
from branchtrack.training.loop.data import LoopBatches


class Counter:
    """An extra object of a loop."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def base(mode: str = "exact", step: int = 5, **settings: Any) -> Any:
    fork = SimpleNamespace(step=step, settings=settings)
    return SimpleNamespace(
        fork=fork,
        mode=mode,
        overrides=settings,
        seed=settings.get("seed"),
        reshuffles=(),
        script=None,
        snapshot=None,
        parts={},
    )


def batches(count: int = 8) -> LoopBatches:
    return LoopBatches(DataLoader(range(count), batch_size=2), 3)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The state of a node's loop; a test fills it."""
    state: dict[str, Any] = {"begun": True, "data": {}, "objects": {}}
    monkeypatch.setattr(beginning.snapshots, "loop_state", lambda _: state)
    random_state = rng.capture()
    monkeypatch.setattr(beginning.snapshots, "random_state", lambda *_: random_state)
    return state


@pytest.mark.parametrize(
    ("mode", "settings", "requested", "last"),
    [
        ("exact", {"max_steps": 20}, 10, 20),
        ("exact", {}, 10, 10),
        ("weights", {}, 10, 15),
        ("weights", {"max_steps": 7}, 10, 7),
        ("exact", {}, None, None),
    ],
)
def test_the_end_is_the_nodes_or_the_scripts_counted_from_there(
    mode: str, settings: dict[str, Any], requested: int | None, last: int | None
) -> None:
    assert beginning._last_step(base(mode, **settings), requested) == last
    assert beginning._last_step(None, requested) == requested


def test_an_end_that_is_reached_already_is_refused() -> None:
    with pytest.raises(InvalidInput, match="more than the node's step 5"):
        beginning._last_step(base(max_steps=5), None)


def test_objects_and_batches_go_on_where_they_were(stored: dict[str, Any]) -> None:
    source, counter = batches(), Counter(7)
    torch.manual_seed(0)
    assert source.take().tolist() == [0, 1]
    stored |= beginning.loop_state(True, source, {"counter": counter})
    target, other = batches(), Counter()
    now = beginning.restore_state(base(), target, {"counter": other}, {})
    assert now is not None and other.count == 7
    assert target.take().tolist() == [2, 3]


def test_a_node_before_the_loop_leaves_the_random_state_to_the_script(
    stored: dict[str, Any],
) -> None:
    stored["begun"] = False
    assert beginning.restore_state(base(), None, {}, {}) is None


def test_other_objects_than_the_nodes_are_refused(stored: dict[str, Any]) -> None:
    stored["objects"] = {"counter": {"count": 1}}
    with pytest.raises(CheckpointMismatch, match="extra objects"):
        beginning.restore_state(base(), None, {}, {})


def test_data_that_was_read_elsewhere_is_refused(stored: dict[str, Any]) -> None:
    stored["data"] = {"unread": True}
    with pytest.raises(CheckpointMismatch, match="--mode weights"):
        beginning.restore_state(base(), batches(), {}, {})


def test_in_data_that_grew_the_position_is_told(stored: dict[str, Any]) -> None:
    source = batches(8)
    source.take()
    stored |= beginning.loop_state(True, source, {})
    resumed = base()
    resumed.script = {LENGTH: 8}
    beginning.restore_state(resumed, batches(12), {}, {LENGTH: 12})
    assert resumed.parts == {"data position": "restored, in changed data"}


def test_a_declared_batch_size_is_given_to_the_loader() -> None:
    loader: Any = DataLoader(range(8), batch_size=2)
    assert beginning._take_batch_size(loader, {}) == 2
    assert beginning._take_batch_size(loader, {"batch_size": 4}) == 4
    assert [len(batch) for batch in loader] == [4, 4]
    assert beginning._take_batch_size([1, 2], {"batch_size": 4}) is None
