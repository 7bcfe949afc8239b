"""A script edited since the node was made: more rows, more epochs, new tokens, another head."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from branchtrack.core.records import Launch
from branchtrack.errors import CheckpointMismatch, InvalidInput
from tests.training import loops, tiny
from tests.training.homes import Home
from tests.training.ways import way_out

EPOCHS: dict[str, Any] = {
    "max_steps": -1,
    "num_train_epochs": 2,
    "save_steps": 3,
    "evaluated": False,
    "lr_scheduler_type": "linear",
}


@pytest.fixture(scope="module")
def trained(shared_home: Home) -> Home:
    """Twelve updates in two passes, with a node at every third."""
    shared_home.train(**EPOCHS)
    return shared_home


def rates(home: Home, launch: Launch) -> dict[int, float]:
    return home.points("learning_rate", launch.segment_id)


def test_more_epochs_are_declared_as_the_refusal_says(trained: Home) -> None:
    launch = trained.order(trained.node(6))
    with pytest.raises(CheckpointMismatch) as caught:
        trained.train(launch, **{**EPOCHS, "num_train_epochs": 3})
    way = way_out(caught.value)
    assert way["settings"] == {"max_steps": "18", "horizon": "rescale"}
    again = trained.order(trained.node(6), way["settings"])
    trained.train(again, **{**EPOCHS, "num_train_epochs": 3})
    assert trained.final(again).step == 18 and min(rates(trained, again).values()) > 0


def test_a_schedule_that_is_over_is_not_spread_at_a_rate_of_zero(trained: Home) -> None:
    longer = {"max_steps": 15, "horizon": "extend"}
    with pytest.raises(InvalidInput, match="learning rate of 0") as caught:
        trained.order(trained.final(), longer)
    for way in ("horizon=rescale", "schedule_from=restart", "lr_scheduler_type=constant"):
        assert way in str(caught.value)
        name, _, value = way.partition("=")
        launch = trained.order(trained.final(), {"max_steps": 15, name: value})
        trained.train(launch, **EPOCHS)
        found = rates(trained, launch)
        assert trained.final(launch).step == 15 and min(found.values()) > 0, way
    with pytest.raises(InvalidInput):
        trained.order(trained.final(), {**longer, "lr_scheduler_type": "cosine"})


def test_a_node_with_nothing_left_says_how_to_go_on(trained: Home) -> None:
    with pytest.raises(InvalidInput, match="nothing is left") as caught:
        trained.order(trained.final())
    way = way_out(caught.value)["settings"]
    launch = trained.order(trained.final(), {**way, "max_steps": "14"})
    trained.train(launch, **EPOCHS)
    assert trained.final(launch).step == 14


def test_rows_that_were_added_are_trained_on_from_the_next_pass_on(trained: Home) -> None:
    class Spied(tiny.Sentences):
        read: list[int] = []

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            self.read.append(index)
            return super().__getitem__(index)

    how = {**EPOCHS, "data": Spied(40)}
    with pytest.raises(CheckpointMismatch) as caught:
        trained.train(trained.order(trained.node(3)), **how)
    assert way_out(caught.value)["settings"] == {"accept": "dataset_length"}
    launch = trained.order(trained.node(3), {"accept": "dataset_length"})
    Spied.read.clear()
    trained.train(launch, **how)
    fork = trained.fork(launch)
    assert [change.name for change in fork.changes] == ["accept"]
    assert fork.restored is not None and "next pass" in fork.restored["data position"]
    # Nine updates of four: every row of the next pass at most once.
    assert len(set(Spied.read[:36])) == 36 and max(Spied.read) >= tiny.SAMPLES
    # What follows is of the script as it is now.
    again = trained.order(trained.nodes(launch.branch_id)[1])
    trained.train(again, **how)
    assert trained.final(again).state_digest == trained.final(launch).state_digest


def test_a_name_that_no_script_has_is_not_accepted(trained: Home) -> None:
    launch = trained.order(trained.node(3), {"accept": "datasetlength"})
    with pytest.raises(InvalidInput, match="dataset_length"):
        trained.train(launch, **EPOCHS)


@pytest.mark.parametrize("order", ["sequential", "random"])
def test_a_plain_loop_goes_on_behind_its_rows_where_they_lie_in_order(
    order: str, home: Home
) -> None:
    loops.train(home, data=lambda: loops.loader(order))
    data = loops.Points(count=40)
    launch = home.order(home.node(4), {"accept": "dataset_length", "max_steps": 12})
    loops.train(home, launch, data=lambda: loops.loader(order, data))
    restored = home.fork(launch).restored
    assert restored is not None
    if order == "sequential":
        assert data.read[:24] == list(range(16, 40)) and "in changed data" in str(restored)
    else:
        assert sorted(data.read[:32]) == sorted(set(data.read[:32])) and len(data.read) == 32
        assert "next pass" in restored["data position"]


def wider(tokens: int = 50, seed: int = 3) -> Any:
    """The same model with other weights and more tokens."""
    made = tiny.gpt(seed)
    made.resize_token_embeddings(tokens)
    return made


def test_the_weights_alone_take_what_fits_and_tell_the_rest(trained: Home) -> None:
    seen: list[torch.Tensor] = []
    before = trained.snapshot(trained.node(6)).tensors
    old = before["model/transformer.wte.weight"]
    other = before["model/transformer.h.0.attn.c_attn.weight"]

    def model() -> Any:
        made = wider(53)
        seen.append(made.transformer.wte.weight.detach().clone())
        return made

    def begun(changes: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        launch = trained.order(trained.node(6), changes, mode="weights")
        trained.train(launch, model=model, **EPOCHS)
        first = trained.nodes(launch.branch_id)[1]
        assert first.step == 6
        return trained.snapshot(first).tensors, trained.fork(launch).restored or {}

    tensors, restored = begun({})
    assert torch.equal(tensors["model/transformer.h.0.attn.c_attn.weight"], other)
    assert torch.equal(tensors["model/transformer.wte.weight"], seen[0])
    assert restored["weights"].endswith("restored") and restored["weights"] != "restored"
    assert "wte.weight (53×16, in the node 50×16)" in restored["weights as the script made them"]
    tensors, restored = begun({"resize": True})
    rows = tensors["model/transformer.wte.weight"]
    assert torch.equal(rows[:50], old) and torch.equal(rows[50:], seen[1][50:])
    assert "wte.weight" in restored["weights resized"]


def test_a_model_that_nothing_fits_is_refused(trained: Home) -> None:
    launch = trained.order(trained.node(6), mode="weights")
    with pytest.raises(CheckpointMismatch, match="None of the node's weights fits"):
        trained.train(launch, model=tiny.normed, **EPOCHS)


@pytest.mark.parametrize(
    ("mode", "settings"),
    [("exact", {"resize": True}), ("weights", {"accept": "seed"})],
)
def test_what_a_mode_has_no_use_for_is_refused(
    mode: str, settings: dict[str, Any], trained: Home
) -> None:
    with pytest.raises(InvalidInput, match="has no effect"):
        trained.order(trained.node(6), settings, mode=mode)


def test_the_weights_of_a_finished_node_need_no_end_and_no_horizon(trained: Home) -> None:
    launch = trained.order(trained.final(), {"max_steps": 16}, mode="weights")
    trained.train(launch, data=tiny.Sentences(30), **EPOCHS)
    assert trained.final(launch).step == 16
    assert trained.fork(launch).restored is not None
    assert max(rates(trained, launch).values()) == pytest.approx(1e-3)
