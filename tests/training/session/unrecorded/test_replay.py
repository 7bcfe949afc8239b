"""A stretch that is trained again is compared bit for bit, and nothing else is recorded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from sqlalchemy import func, select
from transformers import EarlyStoppingCallback

from branchtrack.core import exactness
from branchtrack.core.records import Certificate, Node
from branchtrack.db import nodes
from branchtrack.db.tables import metadata
from branchtrack.environment_variables import CERTIFY_VARIABLE
from branchtrack.errors import BranchtrackError, CheckpointMismatch
from branchtrack.training import rng
from branchtrack.training.record import commits
from branchtrack.training.session.unrecorded import replay
from branchtrack.training.trainer import resumption
from tests.matrices import some
from tests.training import loops, tiny
from tests.training.callbacks import At, Do
from tests.training.homes import Home

EVALUATED: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 2}
BEST: dict[str, Any] = {
    **EVALUATED,
    "max_steps": 8,
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_loss",
    "learning_rate": 0.05,
    "lr_scheduler_type": "constant",
    "save_total_limit": 1,
    "held_out": tiny.Sentences(8, seed=1000),
}
#: A training of five updates, with nodes after the second and the fourth.
SHORT: dict[str, Any] = {"max_steps": 5}
CASES: dict[str, dict[str, Any]] = {
    "plain": {"save_steps": 3, "max_steps": 7},
    "window": {"save_steps": 1, "logging_steps": 3, "max_steps": 8, **EVALUATED},
    "epochs": {
        "max_steps": -1,
        "num_train_epochs": 2,
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "logging_strategy": "epoch",
    },
    "accumulation": {
        "gradient_accumulation_steps": 3,
        "per_device_train_batch_size": 3,
        "max_steps": 5,
        "save_steps": 3,
        "logging_steps": 2,
    },
    "best": BEST,
    "early stopping": {**BEST, "callbacks": lambda: [EarlyStoppingCallback(2)]},
    "early stopping at epochs": {
        **BEST,
        "callbacks": lambda: [EarlyStoppingCallback(2)],
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "max_steps": 60,
    },
    "no saves": {"save_strategy": "no", "max_steps": 4},
    "workers": {"dataloader_num_workers": 1, "max_steps": 7, "save_steps": 3},
    "buffers": {"model": tiny.normed, "save_steps": 5},
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one short training, to be copied."""
    home = Home(tmp_path_factory.mktemp("template"))
    home.train(**SHORT)
    home.close()
    return home


@pytest.fixture
def trained(template: Home, tmp_path: Path) -> Iterator[Home]:
    """A home of the test's own with one short training."""
    copied = template.copy(tmp_path)
    yield copied
    copied.close()


def ending(step: int) -> Callable[[], list[Any]]:
    """Callbacks that end training at a step, as a script's own may."""
    return lambda: [Do("on_step_end", step, lambda control, **_: end(control))]


def end(control: Any) -> None:
    control.should_training_stop = True


def stretches(made: list[Node]) -> Iterator[tuple[Node, Node]]:
    """Each node with the next, and the first with the last."""
    yield from zip(made, made[1:], strict=False)
    if len(made) > 2:
        yield made[0], made[-1]


def certified(home: Home, start: Node, target: Node, **how: Any) -> Certificate:
    found = home.rehearse(start, target, **how)
    assert found is not None, (start.step, target.step)
    return found


def counted(home: Home) -> dict[str, int]:
    """Rows of every table."""
    with home.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


@pytest.mark.parametrize("case", some(CASES, "plain", "accumulation", "early stopping"))
def test_every_stretch_is_exact(case: str, home: Home) -> None:
    how = CASES[case]
    home.train(**how)
    for start, target in stretches(home.nodes()):
        found = certified(home, start, target, **how)
        assert exactness.words(found) == "certified exact", (start.step, target.step)
        assert found.digest == target.state_digest and found.environment["threads"] == 1


def asked(home: Home, *requests: tuple[int, dict[str, Any]]) -> Callable[[], list[Any]]:
    """Callbacks that ask a training for something at some steps."""

    def callbacks() -> list[Any]:
        return [At(step, lambda payload=payload: home.ask(**payload)) for step, payload in requests]

    return callbacks


def train(home: Home, *requests: tuple[int, dict[str, Any]], **how: Any) -> None:
    """Train, with something asked for before the updates behind some steps."""
    trainer = tiny.trainer(
        tiny.BranchingTrainer, home.folder, callbacks=asked(home, *requests), **how
    )
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, At):
            callback.trainer = trainer
    home.run(trainer)


def test_changes_on_the_way_and_at_its_end_are_made_again(home: Home) -> None:
    how = {"save_steps": 20, "logging_steps": 5, "max_steps": 8}
    train(
        home,
        (1, {"kind": "set", "values": {"lr": 0.0031}}),
        (2, {"kind": "checkpoint"}),
        (3, {"kind": "set", "values": {"weight_decay": 0.1, "dropout": 0.1}}),
        (4, {"kind": "evaluate"}),
        (5, {"kind": "set", "values": {"lr": 0.002}}),
        **how,
    )
    made = home.nodes()
    assert [one.step for one in made if one.changes] == [2, 4, 6]
    for start, target in stretches(made):
        found = certified(home, start, target, **how)
        assert found.difference is None, (start.step, target.step, found.difference)


def test_a_change_that_another_took_the_place_of_is_made_again_too(home: Home) -> None:
    def ask() -> None:
        for lr in (0.0007, 0.0031):
            home.ask("set", values={"lr": lr})

    trainer = tiny.trainer(
        tiny.BranchingTrainer,
        home.folder,
        callbacks=lambda: [At(2, ask, count=2)],
        max_steps=5,
        save_steps=20,
        weight_decay=0.1,
    )
    next(c for c in trainer.callback_handler.callbacks if isinstance(c, At)).trainer = trainer
    home.run(trainer)
    assert [one.state for one in home.requests()] == ["superseded", "verified"]
    root, change, final = home.nodes()
    how = {"max_steps": 5, "save_steps": 20, "weight_decay": 0.1}
    for start, target in ((root, change), (root, final), (change, final)):
        assert certified(home, start, target, **how).difference is None


def test_a_change_whose_node_failed_is_made_where_it_was_made(home: Home) -> None:
    how = {"max_steps": 5, "save_steps": 4}
    real = commits.missing
    failing = mock.Mock(side_effect=[real, RuntimeError("no room"), real, real, real])

    def missing(*given: Any) -> Any:
        return failing()(*given)

    with mock.patch.object(commits, "missing", missing):
        train(home, (1, {"kind": "set", "values": {"lr": 0.0031}}), **how)
    assert home.requests()[0].state == "failed"
    root, carrying, final = home.nodes()
    assert carrying.step == 4 and [change.name for change in carrying.changes] == ["lr"]
    for start, target in ((root, carrying), (root, final)):
        assert certified(home, start, target, **how).difference is None


@pytest.mark.parametrize("how", [{}, {"eval_strategy": "epoch", "load_best_model_at_end": False}])
def test_a_training_that_was_stopped_or_ended_itself_is_tried_to_its_end(
    how: dict[str, Any], home: Home
) -> None:
    how = {**how, "save_steps": 6}
    train(home, (2, {"kind": "stop"}), **how)
    root, final = home.nodes()[0], home.final()
    assert (final.kind, final.step) == ("final", 3)
    assert certified(home, root, final, **how).difference is None
    ended = {**how, "callbacks": ending(8), "run_name": "ended", "max_steps": 9}
    home.train(**ended)
    made = home.nodes("ended/main")
    assert (made[-1].kind, made[-1].step) == ("final", 8)
    assert certified(home, made[0], made[-1], **ended).difference is None
    assert certified(home, made[-2], made[-1], **ended).difference is None


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("exact", {"lr": 0.004, "weight_decay": 0.1}),
        ("exact", {"batch_size": 3, "max_steps": 6, "horizon": "extend"}),
        ("weights", {}),
        ("weights", {"lr": 0.004, "max_steps": 6, "horizon": "rescale"}),
    ],
)
def test_a_branch_is_tried_from_its_fork(
    mode: str, settings: dict[str, Any], trained: Home
) -> None:
    launch = trained.order(trained.node(2), settings, mode=mode)
    trained.train(launch, **SHORT)
    made = trained.nodes(launch.branch_id)
    later = [one for one in made[1:] if one.step > made[0].step]
    assert made[0].kind == "fork" and len(later) > 1
    for start, target in ((made[0], later[0]), (made[0], later[-1]), (later[-2], later[-1])):
        found = certified(trained, start, target, **SHORT)
        assert found.difference is None, (target.step, found.difference)


def test_nothing_is_recorded_but_the_certificate_and_its_line(home: Home) -> None:
    how = {**BEST, "save_steps": 4, "max_steps": 5}
    home.train(**how)
    before, made, segment = counted(home), home.nodes(), home.segment()
    files = sorted(home.folder.rglob("*"))
    found = certified(home, made[0], made[-1], **how)
    rows = {name: count - before[name] for name, count in counted(home).items()}
    assert {name: more for name, more in rows.items() if more} == {
        "certificates": 1,
        "events": 1,
        "seals": 2,
    }
    assert (home.nodes(), home.segment()) == (made, segment)
    assert sorted(home.folder.rglob("*")) == files
    (event,) = home.events("certificate")
    assert (event.ref, event.state, event.step) == (found.id, "exact", made[-1].step)
    assert home.chain_break() is None


class Unseeded(tiny.Sentences):
    """Draws from a source that nobody can know."""

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = torch.tensor(list(os.urandom(16))) % 50
        return {"input_ids": tokens, "labels": tokens}


def test_a_script_that_draws_from_elsewhere_is_found_out(home: Home) -> None:
    how = {**SHORT, "data": Unseeded()}
    home.train(**how)
    found = certified(home, home.node(2), home.node(4), **how)
    difference = found.difference
    assert difference is not None and found.digest != home.node(4).state_digest
    assert (difference["name"], difference["kind"]) == ("model/transformer.wte.weight", "tensor")
    assert difference["largest"] > 0 and len(difference["index"]) == 2
    assert difference["expected"] != difference["found"]
    assert difference["tensors_differing"] > 10 and difference["elements_differing"] > 10
    assert home.events("certificate")[0].state == "differs"


def forget_generators(base: Any) -> None:
    rng.seed(1)


BROKEN: dict[str, tuple[Any, str, Callable[..., Any], str]] = {
    "generators": (resumption, "restore_rng", forget_generators, "model/"),
    "window": (resumption.trainer_state, "restore_window", lambda *_: None, "loop/"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_restore_is_found_out(case: str, home: Home) -> None:
    how = {"logging_steps": 5, "save_steps": 3, "max_steps": 7}
    home.train(**how)
    owner, name, broken, where = BROKEN[case]
    with mock.patch.object(owner, name, broken):
        found = certified(home, home.node(6), home.final(), **how)
    assert found.difference is not None and found.difference["name"].startswith(where)


def test_a_difference_at_the_end_of_training_is_told_and_nothing_of_the_script_is_touched(
    home: Home,
) -> None:
    how = {**BEST, "max_steps": 4, "data": Unseeded()}
    home.train(**how)
    made, files = home.nodes(), sorted(home.folder.rglob("*"))
    assert certified(home, made[-2], made[-1], **how).difference is not None
    assert sorted(home.folder.rglob("*")) == files


def test_settings_are_compared_too(home: Home) -> None:
    how = {**SHORT, "save_steps": 20}
    train(home, (2, {"kind": "set", "values": {"lr": 0.0031}}), **how)
    root, change = home.nodes()[:2]
    real = replay._plan

    def plan(*given: Any) -> replay.ReplayPlan:
        found = real(*given)
        return replay.ReplayPlan(found.target, found.stored, found.nodes, {})

    with mock.patch.object(replay, "_plan", plan):
        found = certified(home, root, change, **how)
    assert found.digest == change.state_digest
    assert found.difference is not None and found.difference["kind"] == "settings"
    assert (found.difference["name"], found.difference["expected"]) == ("lr", 0.0031)


def test_another_script_is_refused_and_leaves_nothing(trained: Home, capfd: Any) -> None:
    before = counted(trained)
    with suppress(CheckpointMismatch):
        assert (
            trained.rehearse(trained.node(2), trained.node(4), learning_rate=0.5, **SHORT) is None
        )
    assert "learning_rate is 0.5 in the script" in capfd.readouterr().err
    assert counted(trained) == before


def test_a_training_that_ends_too_early_is_told(trained: Home, capfd: Any) -> None:
    start, target = trained.node(2), trained.final()
    assert trained.rehearse(start, target, callbacks=ending(3), **SHORT) is None
    assert "reached step 3, but not node" in capfd.readouterr().err
    assert trained.events("certificate") == []


class Own(tiny.BranchingTrainer):
    """With a training step of its own."""

    def training_step(self, *given: Any, **named: Any) -> Any:
        return super().training_step(*given, **named)


def test_a_loop_of_its_own_is_not_claimed_to_be_tested(home: Home) -> None:
    home.train(kind=Own, **SHORT)
    found = certified(home, home.node(2), home.node(4), kind=Own, **SHORT)
    assert found.exact and found.untested == ["Own has training_step of its own"]
    assert exactness.verdict(found) == "equal"


def loop(home: Home, **how: Any) -> Callable[..., Any]:
    return partial(loops.train, home, **how)


LOOPS: dict[str, dict[str, Any]] = {
    "draws": {"data": lambda: loops.loader(data=loops.Points("torch"))},
    "stream": {"data": lambda: loops.loader(data=loops.Flow("python"))},
    "plateau": {"scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau, "evaluated": True},
    "accumulation": {"accumulation": 3},
    "generator": {"data": lambda: loops.loader("generator")},
}


@pytest.mark.parametrize("case", LOOPS)
def test_a_plain_loop_is_tried_as_well(case: str, home: Home) -> None:
    again = loop(home, **{"save_steps": 3, "max_steps": 5, **LOOPS[case]})
    again()
    made = home.nodes()
    assert made[-1].kind == "final"
    for start, target in stretches(made):
        found = home.rehearse(start, target, again)
        assert found is not None and exactness.words(found) == "certified exact"


def test_changes_of_a_plain_loop_are_made_again(home: Home) -> None:
    def ask(run: Any, _optimizer: Any) -> None:
        if run.step_number == 3 and run._session.records:
            home.ask("set", values={"lr": 0.031, "temperature": 2.5})
            deadline = time.monotonic() + 60
            while not run._session.recorder.inbox.waiting and time.monotonic() < deadline:
                time.sleep(0.002)

    again = loop(home, at=ask, settings={"temperature": 1.0}, save_steps=4, max_steps=6)
    again()
    made = home.nodes()
    assert [one.step for one in made if one.changes] == [4]
    for start, target in stretches(made):
        found = home.rehearse(start, target, again)
        assert found is not None and found.difference is None, found and found.difference


def test_a_plain_loop_that_draws_from_elsewhere_is_found_out(home: Home) -> None:
    def spoil(run: Any, optimizer: Any) -> None:
        with torch.no_grad():
            optimizer.param_groups[0]["params"][0].add_(os.urandom(1)[0] / 1e3)

    again = loop(home, at=spoil, max_steps=5)
    again()
    found = home.rehearse(home.node(3), home.node(5), again)
    assert found is not None and found.difference is not None
    assert found.difference["name"] == "model/0.weight"


def test_children_of_a_trial_know_nothing_of_it(trained: Home) -> None:
    seen: list[bool] = []
    look = Do("on_step_begin", None, lambda **_: seen.append(CERTIFY_VARIABLE in os.environ))
    certified(trained, trained.node(2), trained.node(4), callbacks=lambda: [look], **SHORT)
    assert seen and not any(seen)


def test_a_trial_that_nobody_waits_for_ends(trained: Home) -> None:
    with mock.patch.object(os, "getppid", mock.Mock(side_effect=[7, 7, 8])):
        assert trained.rehearse(trained.node(2), trained.final(), **SHORT) is None
    assert trained.events("certificate") == []


def test_a_damaged_node_ends_it_before_any_training(trained: Home, capfd: Any) -> None:
    with trained.database.read() as connection:
        stored = nodes.checkpoint(connection, trained.node(2).state_digest)
    pack = Path(trained.store.describe(next(iter(stored.locations.values())).pack))
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes()[:-8] + bytes(8))
    with suppress(BranchtrackError):
        assert trained.rehearse(trained.node(2), trained.node(4), **SHORT) is None
    assert "Damaged" in capfd.readouterr().err
