"""What a resume may change of a Trainer's loop, each obeyed from the first update on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import get_scheduler

from branchtrack.core.records import Launch, Node
from branchtrack.errors import InvalidInput
from tests.matrices import some
from tests.training import matrix, tiny
from tests.training.callbacks import Spy
from tests.training.homes import Home

AT = 4
#: Nodes at 4, 8 and 12.
SAVED: dict[str, Any] = {"save_steps": AT}


#: A run beside ``tiny`` that remembers what it read.
SEEN: dict[str, Any] = {"run_name": "seen", "save_steps": 3}


class Seen(tiny.Sentences):
    """Remembers which samples were read, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index >= self.count:
            raise IndexError(index)
        self.read.append(index)
        return super().__getitem__(index)


@pytest.fixture(scope="module")
def trained(shared_home: Home) -> Home:
    """A home in which ``tiny/main`` has been trained, with a node every fourth step."""
    shared_home.train(**SAVED)
    return shared_home


@pytest.fixture(scope="module")
def samples(shared_home: Home) -> list[int]:
    """The samples that ``seen/main`` read, which has been trained with a node at step 3."""
    seen = Seen()
    shared_home.train(data=seen, **SEEN)
    return seen.read


def resume(home: Home, settings: dict[str, Any], node: Node, **how: Any) -> tuple[Launch, Spy]:
    """Resume a node with changes; the spy has the groups of every update."""
    spy = Spy()
    launch = home.order(node, settings)
    home.train(launch, callbacks=lambda: [spy], **how)
    return launch, spy


def resume_tiny(home: Home, settings: dict[str, Any]) -> tuple[Launch, Spy]:
    """Resume ``tiny/main`` in the middle with changes."""
    return resume(home, settings, home.node(AT, "tiny/main"), **SAVED)


def rate(kind: str, at: int, steps: int = tiny.STEPS, warmup: int = 0) -> float:
    """What transformers' own schedule has for the update behind ``at``."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    found = get_scheduler(kind, optimizer, warmup, steps)
    for _ in range(at):
        optimizer.step()
        found.step()
    return float(found.get_last_lr()[0])


def obeyed(home: Home, launch: Launch) -> dict[str, Any]:
    """What was read back at the first update of a launch, which obeyed."""
    effective = home.fork(launch).effective
    assert effective is not None and effective["verified"] is True
    return effective


SCHEDULES = [
    "linear",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
]


@pytest.mark.parametrize("kind", some(SCHEDULES, "linear", "inverse_sqrt"))
def test_another_schedule_takes_its_place_at_the_resumed_step(trained: Home, kind: str) -> None:
    launch, spy = resume_tiny(trained, {"lr_scheduler_type": kind})
    assert [groups[0]["lr"] for groups in spy.groups] == pytest.approx(
        [rate(kind, step) for step in range(AT, tiny.STEPS)], rel=1e-9
    )
    assert obeyed(trained, launch)["lr_scheduler_type"] == kind
    again = trained.order(trained.final(launch), {"max_steps": 16, "horizon": "rescale"})
    if kind in ("linear", "polynomial"):
        trained.train(again, **SAVED)
        assert trained.final(again).settings["lr_scheduler_type"] == kind


def test_a_schedule_that_needs_evaluation_is_refused_without(trained: Home) -> None:
    with pytest.raises(InvalidInput, match="does not evaluate"):
        trained.order(trained.node(AT), {"lr_scheduler_type": "reduce_lr_on_plateau"})


def test_a_plateau_begins_at_the_base_rate(home: Home) -> None:
    how = {"eval_strategy": "steps", "eval_steps": 2, "max_steps": 6, **SAVED}
    home.train(**how)
    plateau = {"lr_scheduler_type": "reduce_lr_on_plateau"}
    launch, spy = resume(home, plateau, home.node(AT), **how)
    assert spy.rates[0] == [1e-3, 1e-3] and obeyed(home, launch)
    assert home.final(launch).step == 6


def test_warm_up_is_counted_from_the_start_of_the_run(trained: Home) -> None:
    launch, spy = resume_tiny(trained, {"warmup_steps": 8})
    assert spy.rates[0][0] == pytest.approx(rate("cosine", AT, warmup=8), rel=1e-9)
    assert obeyed(trained, launch)["warmup_steps"] == 8


def test_a_rescaled_schedule_is_that_of_the_new_length(trained: Home) -> None:
    launch, spy = resume_tiny(trained, {"max_steps": 20, "horizon": "rescale"})
    expected = [rate("cosine", step, 20) for step in range(AT, 20)]
    assert [groups[0]["lr"] for groups in spy.groups] == pytest.approx(expected, rel=1e-9)
    assert obeyed(trained, launch)["max_steps"] == 20
    assert trained.final(launch).step == 20


def test_an_extended_schedule_goes_on_from_the_rate_in_force(trained: Home) -> None:
    launch, spy = resume_tiny(trained, {"max_steps": 24, "horizon": "extend"})
    rates = [groups[0]["lr"] for groups in spy.groups]
    # Ten updates of the shape were left, and are spread over twenty.
    expected = [rate("cosine", AT + n // 2) for n in range(0, 20, 2)]
    assert rates[::2] == pytest.approx(expected, rel=1e-9) and len(rates) == 20
    node = trained.node(12, launch.branch_id)
    again = trained.order(node)
    trained.train(again, **SAVED)
    assert trained.final(again).state_digest == trained.final(launch).state_digest


def test_a_finished_branch_can_be_trained_further(trained: Home) -> None:
    final = trained.final()
    launch = trained.order(final, {"max_steps": 18, "horizon": "rescale"})
    trained.train(launch, **SAVED)
    assert trained.final(launch).step == 18


CHANGES: list[dict[str, int]] = [
    {"batch_size": 2},
    {"batch_size": 3},
    {"batch_size": 8},
    {"batch_size": 24},
    {"gradient_accumulation_steps": 2},
    {"gradient_accumulation_steps": 3},
    {"batch_size": 3, "gradient_accumulation_steps": 2},
]
#: More than what is left of the epoch, and both at once.
QUICK = [CHANGES[3], CHANGES[6]]


@pytest.mark.parametrize("change", some(CHANGES, *QUICK), ids=str)
def test_each_sample_of_the_epoch_is_used_once(
    change: dict[str, int], trained: Home, samples: list[int]
) -> None:
    home, after = trained, Seen()
    update = change.get("batch_size", 4) * change.get("gradient_accumulation_steps", 1)
    length = 3 + math.ceil(12 / update) + math.ceil(24 / update) + 2
    settings = {**change, "max_steps": length, "horizon": "rescale", "save_steps": 4}
    launch, _ = resume(home, settings, home.node(3, "seen/main"), data=after, **SEEN)
    epoch = set(range(tiny.SAMPLES))
    assert set(after.read[:12]) == epoch - set(samples[:12])
    assert set(after.read[12:36]) == epoch, "the next epoch is whole"
    effective = obeyed(home, launch)
    assert {name: effective[name] for name in change} == change
    node = next(n for n in home.nodes(launch.branch_id) if n.step == 4)
    again = home.order(node)
    home.train(again, **SEEN)
    assert home.final(again).state_digest == home.final(launch).state_digest


@pytest.mark.parametrize("change", some([CHANGES[2], CHANGES[4]], CHANGES[2]), ids=str)
def test_each_sample_is_used_once_where_the_order_depends_on_the_batch(
    change: dict[str, int], home: Home
) -> None:
    taken: list[int] = []

    class Noting(tiny.BranchingTrainer):
        """Notes the samples that it trains on: each begins with its number."""

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            taken.extend(inputs["input_ids"][:, 0].tolist())
            return super().training_step(model, inputs, *args, **kwargs)

    items = [{"input_ids": torch.tensor([n, *range(n % 9 + 1)])} for n in range(26)]
    how: dict[str, Any] = {
        "kind": Noting,
        "data": items,
        "collator": matrix.padded,
        "evaluated": False,
        "train_sampling_strategy": "group_by_length",
        "save_steps": 3,
    }
    home.train(**how)
    begun = taken[:12]
    taken.clear()
    launch, _ = resume(home, change, home.node(3), **how)
    assert sorted(begun + taken[:14]) == list(range(26))
    assert sorted(taken[14:40]) == list(range(26)) and obeyed(home, launch)


def test_another_seed_keeps_the_rest_of_the_epoch(trained: Home, samples: list[int]) -> None:
    home, plain, after = trained, Seen(), Seen()
    node = home.node(3, "seen/main")
    home.train(home.order(node), data=plain, **SEEN)
    launch, _ = resume(home, {"seed": 7}, node, data=after, **SEEN)
    assert after.read[:12] == plain.read[:12] == samples[12:24]
    assert after.read[12:36] != plain.read[12:36]
    assert set(after.read[12:36]) == set(plain.read[12:36])
    assert home.final(launch).state_digest != home.final_of("seen").state_digest
    assert obeyed(home, launch)["seed"] == 7


def test_what_is_logged_and_saved_changes_when_it_is_declared(trained: Home) -> None:
    launch, _ = resume_tiny(trained, {"logging_steps": 5, "save_steps": 3})
    assert sorted(trained.points("loss", launch.segment_id)) == [5, 10]
    steps = [node.step for node in trained.nodes(launch.branch_id)]
    assert steps == [4, 6, 9, 12, 14] and obeyed(trained, launch)["save_steps"] == 3


def test_optimizer_and_model_obey(trained: Home) -> None:
    wanted = {"betas": "0.8, 0.95", "eps": 1e-6, "dropout": 0.5, "frozen": "transformer.wte"}
    launch, spy = resume_tiny(trained, wanted)
    effective = obeyed(trained, launch)
    assert list(spy.groups[0][0]["betas"]) == [0.8, 0.95] == effective["betas"]
    assert spy.groups[0][0]["eps"] == effective["eps"] == 1e-6 and effective["dropout"] == 0.5
    name = "model/transformer.wte.weight"
    before, after = trained.snapshot(trained.node(AT)), trained.snapshot(trained.final(launch))
    assert torch.equal(before.tensors[name], after.tensors[name])
    assert not torch.equal(
        before.tensors["model/transformer.wpe.weight"],
        after.tensors["model/transformer.wpe.weight"],
    )


def test_of_weights_alone_everything_else_is_fresh(trained: Home) -> None:
    spy = Spy()
    node = trained.node(AT)
    launch = trained.order(node, {"lr": 5e-4}, mode="weights")
    how = {**SAVED, "learning_rate": 3e-3, "lr_scheduler_type": "linear"}
    trained.train(launch, callbacks=lambda: [spy], **how)
    rates = [groups[0]["lr"] for groups in spy.groups]
    assert rates == pytest.approx([5e-4 * (1 - n / tiny.STEPS) for n in range(tiny.STEPS)])
    fork, made = trained.fork(launch), trained.nodes(launch.branch_id)
    assert fork.restored == {
        "weights": "restored",
        "optimizer": "reset",
        "scheduler": "reset",
        "rng": "reset",
        "data position": "reset",
        "counters": "reset",
        "lr": "replaced",
    }
    assert (made[1].step, made[-1].step) == (AT, AT + tiny.STEPS)
    fresh = trained.snapshot(made[1])
    assert not [name for name in fresh.tensors if name.startswith("optimizer/")]
    theirs = trained.snapshot(node).tensors
    assert all(torch.equal(t, theirs[n]) for n, t in fresh.tensors.items() if n[:6] == "model/")
    again = trained.order(made[3])
    trained.train(again, **how)
    assert trained.final(again).state_digest == trained.final(launch).state_digest


def test_a_loader_that_does_not_follow_the_batch_size_is_told(home: Home) -> None:
    class Own(tiny.BranchingTrainer):
        """Has a loader whose batches are always of four."""

        def get_train_dataloader(self) -> Any:
            """The loader, tracked as the Trainer's own."""
            return super().get_train_dataloader()

        def _get_dataloader(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            kwargs["batch_size"] = tiny.BATCH
            return super()._get_dataloader(dataset, *args, **kwargs)

    home.train(kind=Own, max_steps=6, **SAVED)
    launch = home.order(home.node(AT), {"batch_size": 8})
    with pytest.raises(InvalidInput, match="makes its own batches") as caught:
        home.train(launch, kind=Own, max_steps=6, **SAVED)
    assert caught.value.field == "batch_size" and "4" in caught.value.fix
    assert home.segment(launch.branch_id).started_at is None
