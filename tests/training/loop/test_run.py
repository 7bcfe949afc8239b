"""A plain loop is steered and recorded: control points, requests, ends, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import branchtrack
from branchtrack.db.views import run_list
from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training import rng
from branchtrack.training.loop.run import Run
from branchtrack.training.state import snapshots
from tests.matrices import some
from tests.training import loops
from tests.training.homes import Home

ROOT = Path(__file__).parent.parent.parent


def asking(home: Home, at: dict[int, dict[str, Any]], *reads: str) -> Any:
    """Before the control point of an update, somebody asks; the process has seen it by then."""

    def ask(run: Run, optimizer: Any) -> None:
        for name in reads:
            assert run.settings[name] is not None
        if run.update in at:
            payload = dict(at[run.update])
            thread = threading.Thread(target=lambda: home.ask(payload.pop("kind"), **payload))
            thread.start()
            thread.join()
            deadline = time.monotonic() + 60
            recorder = run._session.recorder
            while recorder and not recorder.inbox.waiting and time.monotonic() < deadline:
                time.sleep(0.002)

    return ask


def begin(home: Home, **given: Any) -> tuple[Run, torch.nn.Module, torch.optim.Optimizer]:
    """A run that a test goes on with by itself."""
    model = loops.net()
    optimizer = loops.sgd(model)
    with loops.process(home):
        run = branchtrack.start(**{"name": "tiny", "model": model, "optimizer": optimizer, **given})
    return run, model, optimizer


def update(model: Any, optimizer: torch.optim.Optimizer) -> None:
    loops.loss_of(model, (torch.randn(4, 6), torch.randint(0, 2, (4,)))).backward()
    optimizer.step()
    optimizer.zero_grad()


def test_nodes_metrics_and_settings_are_recorded(home: Home) -> None:
    loops.train(home, save_steps=4, evaluated=True)
    assert [(n.step, n.kind) for n in home.nodes()] == [
        (0, "root"),
        (4, "checkpoint"),
        (8, "checkpoint"),
        (9, "final"),
    ]
    points = {name: home.points(name, home.segment().id) for name in ("loss", "eval_loss")}
    assert sorted(points["loss"]) == list(range(1, 10))
    assert sorted(points["eval_loss"]) == [2, 4, 6, 8]
    root, last = home.node(0), home.node(8)
    assert "Sequential" in root.message and root.effective is not None
    assert root.effective["verified"] is True
    assert last.settings == {
        "lr": 0.1,
        "weight_decay": 0.0,
        "momentum": 0.9,
        "dampening": 0.0,
        "nesterov": False,
        "dropout": 0.2,
        "frozen": "",
        "max_steps": 9,
        "save_steps": 4,
        "batch_size": 4,
        "seed": 5,
        "scheduler": "node",
    }
    assert last.epoch == pytest.approx(1 + 1 / 7) and last.metrics["loss"] == points["loss"][8]
    assert home.segment().status == "finished" and home.chain_break() is None


def test_a_changed_setting_is_verified_at_the_next_update(home: Home) -> None:
    ask = asking(home, {3: {"kind": "set", "values": {"lr": 0.02, "noise": 0.5}}}, "noise")
    loops.train(
        home, max_steps=5, settings={"noise": branchtrack.setting(0.1, maximum=1.0)}, at=ask
    )
    (request,) = home.requests()
    assert (request.state, request.step, request.node_id) == ("verified", 3, home.node(3).id)
    assert request.applied == {"lr": 0.02, "noise": 0.5}
    assert request.effective is not None and request.effective["step"] == 4
    assert home.node(3).kind == "intervention" and request.effective["noise"] == 0.5


def test_a_setting_that_the_loop_does_not_read_is_ineffective(home: Home) -> None:
    ask = asking(home, {3: {"kind": "set", "values": {"noise": 0.5}}})
    loops.train(home, max_steps=5, settings={"noise": 0.1}, at=ask)
    (request,) = home.requests()
    assert request.state == "ineffective" and home.node(3).settings["noise"] == 0.5


def test_a_rate_that_the_loop_overwrites_is_ineffective(home: Home) -> None:
    ask = asking(home, {3: {"kind": "set", "values": {"lr": 0.02}}})

    class Stubborn(torch.optim.SGD):
        """An optimizer with a will of its own."""

        def step(self, closure: Any = None) -> Any:
            self.param_groups[0]["lr"] = 0.1
            return super().step(closure)

    loops.train(home, max_steps=5, optimizer=lambda m: Stubborn(m.parameters(), lr=0.1), at=ask)
    (request,) = home.requests()
    assert request.state == "ineffective" and request.effective is not None
    assert request.effective["lr"] == 0.1


def test_values_out_of_bounds_are_refused_at_the_door(home: Home) -> None:
    words: list[str] = []

    def ask(run: Run, optimizer: Any) -> None:
        if run.update == 2:
            with pytest.raises(InvalidInput) as caught:
                home.ask("set", values={"noise": 2})
            words.append(str(caught.value))

    loops.train(
        home, max_steps=5, settings={"noise": branchtrack.setting(0.1, maximum=1.0)}, at=ask
    )
    assert "at most 1" in words[0]


def test_an_evaluation_that_is_asked_for_leaves_no_trace(home: Home) -> None:
    loops.train(home, max_steps=5)
    asked = Home(home.folder / "asked")
    loops.train(asked, max_steps=5, at=asking(asked, {3: {"kind": "evaluate"}}))
    (request,) = asked.requests()
    assert request.state == "done" and request.result is not None
    assert request.result["metrics"].keys() == {"eval_loss"}
    assert asked.points("eval_loss", asked.segment().id).keys() == {3}
    assert asked.final().state_digest == home.final().state_digest
    asked.close()


def test_a_checkpoint_is_made_on_request(home: Home) -> None:
    loops.train(home, save_steps=None, at=asking(home, {3: {"kind": "checkpoint"}}))
    assert [n.step for n in home.nodes()] == [0, 3, 9]


def test_a_loop_can_wait_for_a_request_to_arrive(home: Home) -> None:
    run, model, optimizer = begin(home)
    assert not run.is_called
    home.ask("checkpoint")
    deadline = time.monotonic() + 60
    while not run.is_called and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.is_called
    update(model, optimizer)
    run.step()
    assert not run.is_called
    run.finish()


def test_a_stop_ends_the_loop_and_can_be_gone_on_from(home: Home) -> None:
    run = loops.train(home, max_steps=5, at=asking(home, {3: {"kind": "stop"}}))
    assert (run.step_number, home.segment().status) == (3, "stopped")
    assert (home.final().step, home.final().kind) == (3, "final")
    launch = home.order(home.final())
    loops.train(home, launch, max_steps=5)
    whole = Home(home.folder / "whole")
    loops.train(whole, max_steps=5)
    assert home.final(launch).state_digest == whole.final().state_digest
    whole.close()


def test_evaluation_disturbs_neither_generators_nor_modes(home: Home) -> None:
    def evaluate() -> dict[str, Any]:
        model.eval()
        return {"accuracy": torch.rand(()), "name": "text"}

    run, model, optimizer = begin(home, evaluate=evaluate)
    model[3].eval()
    modes, before = [m.training for m in model.modules()], rng.capture()
    found = run.evaluate()
    assert found.keys() == {"accuracy", "name"}
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(rng.capture()["torch"], before["torch"])
    run.finish()
    assert home.points("accuracy", home.segment().id).keys() == {0}


def test_a_loop_without_data_begins_before_its_first_update(home: Home) -> None:
    run, model, optimizer = begin(home, max_steps=3, save_steps=1)
    while not run.step():
        update(model, optimizer)
    assert run.step_number == 3
    run.finish()
    assert [n.step for n in home.nodes()] == [0, 1, 2, 3]


def test_a_loop_may_break_where_it_likes(home: Home) -> None:
    run, model, optimizer = begin(home)
    for _ in range(4):
        update(model, optimizer)
        run.log({"loss/train": 1.0}, other=2)
        run.step()
    update(model, optimizer)
    run.finish()
    run.finish()
    assert (home.final().step, home.final().kind) == (5, "final")
    assert home.points("loss/train", home.segment().id).keys() == {1, 2, 3, 4}
    assert not optimizer._optimizer_step_pre_hooks


def test_batches_may_be_taken_in_several_loops(home: Home) -> None:
    run, model, optimizer = begin(home, data=loops.loader("sequential"), max_steps=9)
    seen = []
    for _ in range(3):
        for count, (x, _) in enumerate(run.batches()):
            seen.append(x[0, 0].item())
            update(model, optimizer)
            if run.step() or count == 2:
                break
    run.finish()
    plain = [x[0, 0].item() for x, _ in loops.loader("sequential")]
    assert seen == plain + plain[:2]


def test_an_exception_marks_the_segment_failed(home: Home) -> None:
    with pytest.raises(ZeroDivisionError), begin(home)[0]:
        raise ZeroDivisionError("no loss")
    assert (home.segment().status, home.segment().error) == ("failed", "ZeroDivisionError: no loss")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_or_an_exit_marks_it_stopped(error: type[BaseException], home: Home) -> None:
    with pytest.raises(error), begin(home)[0]:
        raise error
    assert home.segment().status == "stopped"


def test_what_no_test_covers_is_said(home: Home) -> None:
    class Mine(torch.optim.SGD):
        """Somebody's own."""

    model = loops.net()
    mine = Mine(model.parameters(), lr=0.1)
    run, *_ = begin(home, model=model, optimizer=mine, data=[1], objects={"a": Stateful(1)})
    words = " ".join(run._session.uncovered)
    assert "Mine" in words and "not a DataLoader" in words and "'a'" in words
    run.finish()
    run, *_ = begin(home, data=loops.loader())
    assert run._session.uncovered == []
    run.finish()


ENDINGS = {
    "raise ValueError('no loss')": ("failed", "ValueError: no loss"),
    "print('forgotten')": ("stopped", "without run.finish()"),
}


@pytest.mark.parametrize("line", some(ENDINGS, "raise ValueError('no loss')"))
def test_a_script_that_ends_without_saying_so_leaves_nothing_running_and_needs_no_transformers(
    line: str, home: Home, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import sys, torch, branchtrack
        branchtrack.start
        assert "transformers" not in sys.modules, "a plain loop needs no transformers"
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run = branchtrack.start("tiny", model=model, optimizer=optimizer)
        run.step()
        """)
        + line
        + "\n"
    )
    with loops.process(home):
        subprocess.run(
            [sys.executable, str(script)], cwd=ROOT, timeout=60, capture_output=True, check=False
        )
    segment = home.segment()
    assert segment.status == ENDINGS[line][0] and ENDINGS[line][1] in (segment.error or "")


def test_trouble_does_not_end_a_loop(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no memory")

    run, model, optimizer = begin(home, max_steps=4, save_steps=1)
    monkeypatch.setattr(snapshots, "capture", broken)
    monkeypatch.setattr("branchtrack.training.settings.apply.used", broken)
    while not run.step():
        update(model, optimizer)
    run.finish()
    assert run.step_number == 4 and [n.step for n in home.nodes()] == [0]
    assert home.segment().status == "finished"


def test_an_object_whose_state_cannot_be_had_any_more_does_not_end_a_loop(home: Home) -> None:
    class Moody:
        """Has a state as long as nobody has trained."""

        broken = False

        def state_dict(self) -> dict[str, Any]:
            return {"x": object() if self.broken else 1}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            """Never called."""

    moody = Moody()
    run, model, optimizer = begin(home, max_steps=2, objects={"moody": moody}, save_steps=1)
    moody.broken = True
    while not run.step():
        update(model, optimizer)
    run.finish()
    assert run.step_number == 2 and [n.step for n in home.nodes()] == [0]


class Stateful:
    """An object with a state that a test gives it."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        """The state."""
        return self.state

    def load_state_dict(self, state: Any) -> None:
        """Take it back."""
        self.state = state


LINEAR = torch.nn.Linear(2, 2)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an object without a state": ({"objects": {"a": 1}}, "state_dict"),
    "a state that is no data": ({"objects": {"a": Stateful({"b": [1, object()]})}}, "a/b/1"),
    "no model": ({"model": len}, "torch.nn.Module"),
    "no optimizer": ({"optimizer": len}, "optimizer of torch"),
    "a stranger's optimizer": (
        {"optimizer": torch.optim.SGD(LINEAR.parameters(), lr=0.1)},
        "not the model's",
    ),
    "a stranger's scheduler": (
        {
            "scheduler": torch.optim.lr_scheduler.ConstantLR(
                torch.optim.SGD(LINEAR.parameters(), lr=0.1)
            )
        },
        "scheduler of the optimizer",
    ),
    "a setting of the optimizer's": ({"settings": {"lr": 0.1}}, "lr is a setting already"),
    "a setting of the loop's": ({"settings": {"max_steps": 2}}, "max_steps"),
    "a value of no kind": ({"settings": {"a": {1}}}, "bool, int, float, str or list"),
    "a generator": ({"data": (x for x in [1])}, "read only once"),
    "no steps": ({"max_steps": 0}, "at least 1"),
    "steps without end": ({"max_steps": 10**30}, "max_steps: 1000"),
    "saves without end": ({"save_steps": 10**30}, "save_steps: 1000"),
    "yes as a number of steps": ({"max_steps": True}, "max_steps: True"),
    "a seed of text": ({"seed": "x"}, "seed: 'x'"),
    "half a seed": ({"seed": 1.5}, "seed: 1.5"),
    "a seed too large": ({"seed": 10**30}, "at most 4294967295, or None"),
    "a seed below zero": ({"seed": -1}, "seed: -1"),
    "a name that is no text": ({"name": 3}, "name: 3"),
    "settings without names": ({"settings": [1]}, "settings: [1]"),
    "empty settings without names": ({"settings": []}, "settings: []"),
    "objects without names": ({"objects": [1]}, "objects: [1]"),
    "objects by number": ({"objects": {1: Stateful(1)}}, "names that are text"),
    "actions without names": ({"actions": [len]}, "actions: ["),
    "actions by number": ({"actions": {1: len}}, "names that are text"),
    "changes without names": ({"resume": "N", "set": "lr=1"}, "set: 'lr=1'"),
    "half a step": ({"save_steps": 1.5}, "at least 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_could_not_be_brought_back_is_refused(what: str, home: Home) -> None:
    given, words = REFUSED[what]
    with pytest.raises(InvalidInput) as caught:
        begin(home, **given)
    assert words in str(caught.value) and "Allowed: " in str(caught.value)
    with home.database.read() as connection:
        assert run_list.find_runs(connection) == []


def test_a_seed_of_numpy_is_a_seed(home: Home) -> None:
    run, _model, _optimizer = begin(home, max_steps=1, seed=np.int64(7))
    run.finish()
    assert home.nodes()[0].settings["seed"] == 7


def test_data_without_batches_is_refused(home: Home) -> None:
    run, _, _ = begin(home, data=[])
    with pytest.raises(InvalidInput, match="at least one batch"), run:
        next(run.batches())
    run, _, _ = begin(home)
    with pytest.raises(InvalidInput, match="data"), run:
        next(run.batches())


def test_several_processes_that_form_no_group_are_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidInput, match="init_process_group"):
        begin(home)


def test_values_of_each_process_are_series_of_their_own(home: Home) -> None:
    run, _, _ = begin(home)
    with run:
        run.log(loss=1.0)
        run.log(loss=1.0, rank="all")
        with pytest.raises(InvalidInput, match='"all"'):
            run.log(loss=1.0, rank="1")
    segment = home.segment("tiny/main").id
    assert list(home.points("loss/rank0", segment).values()) == [1.0]


def test_one_process_alone_goes_on_with_a_launch(home: Home) -> None:
    loops.train(home, max_steps=5)
    launch = home.order(home.node(4))
    loops.train(home, launch, max_steps=5)
    with pytest.raises(branchtrack.BranchtrackError, match="finished"):
        loops.train(home, launch, max_steps=5)


def test_a_launch_that_does_not_fit_trains_nothing(home: Home) -> None:
    loops.train(home, max_steps=5)
    launch = home.order(home.node(4))
    with pytest.raises(CheckpointMismatch):
        loops.train(home, launch, max_steps=99)
    assert [n.kind for n in home.nodes(launch.branch_id)] == ["fork"]
