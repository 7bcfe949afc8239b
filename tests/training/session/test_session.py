"""Requests to a training that is going on: carried out between updates, seen, and recorded."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from branchtrack import control
from branchtrack.core.records import Request
from branchtrack.db import audit, requests
from branchtrack.db.orders import launches
from branchtrack.errors import BranchtrackError, InvalidInput, NotLive
from branchtrack.training.settings import param_groups, registry
from tests.training import tiny
from tests.training.callbacks import At, Do, Spy
from tests.training.homes import Home

STEPS = 8
SHORT: dict[str, Any] = {"max_steps": STEPS, "save_steps": 4}


def asked(
    home: Home,
    asks: dict[int, Callable[[], Any]],
    *more: Any,
    kind: type[Any] = tiny.BranchingTrainer,
    count: int = 1,
    **how: Any,
) -> Any:
    """Train while others ask, each at its step: ``asks[4]`` is answered after update 5."""
    waits = [At(step, ask, count) for step, ask in asks.items()]
    trainer = tiny.trainer(kind, home.folder, callbacks=lambda: [*more, *waits], **{**SHORT, **how})
    for at in waits:
        at.trainer = trainer
    return home.run(trainer)


def set_lr(home: Home, value: Any) -> Callable[[], Request]:
    return lambda: home.ask("set", values={"lr": value})


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose ``tiny/main`` nobody asked anything of."""
    home = Home(tmp_path_factory.mktemp("untouched"))
    home.train(max_steps=STEPS, save_steps=1, eval_strategy="steps", eval_steps=4)
    return home


@pytest.fixture(scope="module")
def cooled(shared_home: Home) -> tuple[Home, Spy]:
    """A home where somebody set ``lr`` after update 5, and what the optimizer saw."""
    spy = Spy()
    asked(shared_home, {4: set_lr(shared_home, "2e-4")}, spy)
    return shared_home, spy


def test_a_changed_setting_is_verified_and_committed(cooled: tuple[Home, Spy]) -> None:
    home, spy = cooled
    (request,) = home.requests()
    node = home.node(5)
    assert (request.state, request.step, request.node_id) == ("verified", 5, node.id)
    assert (request.before, request.applied) == ({"lr": 1e-3}, {"lr": 2e-4})
    assert request.effective is not None and request.effective["step"] == 6
    assert (node.kind, node.actor, node.message) == ("intervention", "ann", "because")
    assert [(c.name, c.before, c.after) for c in node.changes] == [("lr", 1e-3, 2e-4)]
    assert node.settings["lr"] == 2e-4 and node.effective is not None
    assert node.effective["verified"] and node.effective["lr"] == 2e-4
    assert spy.groups[4][0]["initial_lr"] == 1e-3 and spy.groups[5][0]["initial_lr"] == 2e-4
    assert node.effective["lr_now"] == spy.rates[5][0]
    assert home.chain_break() is None


def test_the_schedule_makes_no_step_of_its_own(cooled: tuple[Home, Spy], untouched: Home) -> None:
    _home, spy = cooled
    plain = untouched.points("learning_rate", untouched.segment().id)
    expected = [plain[step] / (5 if step > 5 else 1) for step in range(1, STEPS + 1)]
    assert [rates[0] for rates in spy.rates] == pytest.approx(expected, rel=1e-12)


def test_the_state_at_the_change_is_that_of_a_run_without_it(home: Home, untouched: Home) -> None:
    how = {"eval_strategy": "steps", "eval_steps": 4, "save_steps": 1}
    asked(home, {4: set_lr(home, 2e-4)}, **how)
    assert home.node(5).kind == "intervention"
    assert home.node(5).state_digest == untouched.node(5).state_digest
    assert home.node(6).state_digest != untouched.node(6).state_digest


def test_the_checkpoint_of_a_change_restores(cooled: tuple[Home, Spy]) -> None:
    home, _ = cooled
    launch = home.resume(home.node(5), **SHORT)
    assert home.final(launch).state_digest == home.final().state_digest


def test_of_two_changes_at_one_control_point_the_later_holds(home: Home) -> None:
    def both() -> None:
        home.ask("set", values={"lr": 1e-5, "weight_decay": 0.2})
        home.ask("set", values={"lr": 2e-5})
        home.ask("set", values={"lr": 3e-5})

    spy = Spy()
    asked(home, {4: both}, spy, count=3)
    first, second, third = home.requests()
    assert [r.state for r in (first, second, third)] == ["verified", "superseded", "verified"]
    assert spy.groups[5][0]["initial_lr"] == 3e-5 and spy.groups[5][0]["weight_decay"] == 0.2
    changes = {c.name: (c.before, c.after) for c in home.node(5).changes}
    assert changes == {"lr": (1e-3, 3e-5), "weight_decay": (0.0, 0.2)}
    assert {first.node_id, third.node_id} == {home.node(5).id}


def test_a_change_to_the_same_value_is_verified_and_changes_nothing(home: Home) -> None:
    asked(home, {4: set_lr(home, 1e-3)})
    (request,) = home.requests()
    assert request.state == "verified" and home.node(5).changes == ()
    assert home.node(5).kind == "checkpoint"


def test_a_checkpoint_is_done_with_its_node(home: Home) -> None:
    asked(home, {4: lambda: home.ask("checkpoint", message="look here")})
    (request,) = home.requests()
    node = home.node(5)
    assert (request.state, request.node_id, node.kind) == ("done", node.id, "checkpoint")
    assert "look here" in node.message


def test_an_evaluation_answers_with_metrics_and_leaves_no_trace(
    home: Home, untouched: Home
) -> None:
    how = {"save_steps": 1, "eval_strategy": "steps", "eval_steps": 4}
    seen: list[int] = []
    watch = Do("on_prediction_step", None, lambda **_: seen.append(1))
    asked(home, {4: lambda: home.ask("evaluate"), 5: lambda: home.ask("evaluate")}, watch, **how)
    first, second = home.requests()
    assert (first.state, first.step) == ("done", 5) and first.result is not None
    assert math.isfinite(first.result["metrics"]["eval_loss"])
    assert home.points("eval_loss", home.segment().id)[5] == first.result["metrics"]["eval_loss"]
    digests = {node.step: node.state_digest for node in home.nodes()}
    assert digests == {node.step: node.state_digest for node in untouched.nodes()}
    assert len(seen) == 2 * 3, "callbacks see the evaluations of the script alone"


def test_an_evaluation_commits_no_node_of_its_own(home: Home) -> None:
    asked(home, {4: lambda: home.ask("evaluate")}, save_steps=100)
    assert [node.step for node in home.nodes()] == [0, STEPS]
    assert home.requests()[0].node_id is None


@pytest.mark.parametrize("metric", ["eval_loss", "no metric"])
def test_an_evaluation_leaves_the_scripts_own_saves_alone(home: Home, metric: str) -> None:
    best = {"metric_for_best_model": metric} if metric == "eval_loss" else {}
    strategy = {"max_steps": 7, "eval_strategy": "steps", "eval_steps": 2, **best}
    strategy["save_strategy"] = "best" if best else "epoch"
    asked(home, {4: lambda: home.ask("evaluate"), 5: lambda: home.ask("evaluate")}, **strategy)
    plain = Home(home.folder / "plain")
    plain.train(**strategy)
    assert [(n.step, n.kind) for n in home.nodes()] == [(n.step, n.kind) for n in plain.nodes()]


def test_several_data_sets_are_evaluated_by_name(home: Home) -> None:
    def prepare(trainer: Any) -> Any:
        trainer.eval_dataset = {"a": tiny.Sentences(4), "b": tiny.Sentences(8)}
        return trainer

    at = At(2, lambda: home.ask("evaluate"))
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, callbacks=lambda: [at], **SHORT)
    at.trainer = prepare(trainer)
    home.run(trainer)
    (request,) = home.requests()
    assert request.state == "done" and request.result is not None
    assert {"eval_a_loss", "eval_b_loss"} <= request.result["metrics"].keys()


def test_without_data_an_evaluation_fails_with_the_reason(home: Home) -> None:
    def ask() -> None:
        with pytest.raises(InvalidInput, match="nothing to evaluate with"):
            home.ask("evaluate")

    asked(home, {4: ask}, evaluated=False, count=0)
    (request,) = home.requests()
    assert request.state == "rejected" and "nothing to evaluate with" in (request.error or "")
    assert home.final().step == STEPS


def test_a_stop_commits_the_final_node_and_ends_the_segment(home: Home, untouched: Home) -> None:
    trainer = asked(home, {4: lambda: home.ask("stop")}, eval_strategy="steps", eval_steps=4)
    (request,) = home.requests()
    assert (request.state, request.node_id) == ("done", home.final().id)
    assert (home.final().step, home.final().kind) == (5, "final")
    assert home.final().state_digest == untouched.node(5).state_digest
    assert (home.segment().status, trainer.state.global_step) == ("stopped", 5)
    launch = home.resume(home.final(), eval_strategy="steps", eval_steps=4, **SHORT)
    assert home.final(launch).state_digest == untouched.final().state_digest


def test_a_pause_that_frees_the_machine_ends_the_process_and_goes_on_exactly(
    home: Home, untouched: Home
) -> None:
    evaluated = {"eval_strategy": "steps", "eval_steps": 4}
    asked(home, {4: lambda: home.ask("pause", free=True)}, **evaluated)
    (request,) = home.requests()
    head = home.nodes()[-1]
    assert (request.state, request.node_id) == ("done", head.id)
    assert (head.kind, head.step, home.segment().status) == ("checkpoint", 5, "suspended")
    woken = control.submit(home.database, "tiny", {"kind": "unpause"}, actor="ann")
    assert woken.state == "done" and woken.result is not None
    with home.database.read() as connection:
        launch = launches.get(connection, woken.result["launch"])
    assert (launch.kind, launch.branch, launch.actor) == ("continue", "main", "ann")
    home.train(launch, **SHORT, **evaluated)
    assert home.segment().status == "finished"
    assert home.final().state_digest == untouched.final().state_digest
    assert home.chain_break() is None


def test_the_last_step_is_no_place_to_pause(home: Home) -> None:
    asked(home, {STEPS - 1: lambda: home.ask("pause", free=True)})
    (request,) = home.requests()
    assert request.state == "failed" and home.segment().status == "finished"


BAD: list[Any] = ["nan", "inf", "-1", "abc", "", 0, True, None, [1], 1e9, "1e999"]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, list[str]]:
    """A home whose ``tiny/main`` was asked for every bad value, and the refusals."""
    home = Home(tmp_path_factory.mktemp("refused"))
    caught: list[str] = []

    def ask() -> None:
        for value in BAD:
            try:
                home.ask("set", values={"lr": value})
            except InvalidInput as error:
                caught.append(str(error))
        home.ask("checkpoint")

    asked(home, {2: ask}, max_steps=4)
    return home, caught


@pytest.mark.parametrize("number", range(len(BAD)), ids=map(repr, BAD))
def test_a_bad_value_is_refused_at_the_door_and_recorded(
    number: int, refused: tuple[Home, list[str]]
) -> None:
    home, caught = refused
    request, words = home.requests()[number], caught[number]
    assert len(caught) == len(BAD) and "lr" in words and "greater than 0" in words
    assert request.state == "rejected" and request.error == words
    assert {node.settings["lr"] for node in home.nodes()} == {1e-3}


def test_unknown_names_and_kinds_are_refused_with_what_there_is(home: Home) -> None:
    words: list[str] = []

    def ask() -> None:
        for kind, payload in (("set", {"values": {"beta": 1}}), ("dance", {}), ("set", {})):
            with pytest.raises(InvalidInput) as caught:
                home.ask(kind, **payload)
            words.append(str(caught.value))
        home.ask("checkpoint")

    asked(home, {2: ask}, max_steps=4)
    assert "weight_decay" in words[0] and "checkpoint" in words[1]
    assert [r.state for r in home.requests()] == ["rejected"] * 3 + ["done"]


def test_nobody_can_ask_a_training_that_has_ended(cooled: tuple[Home, Spy]) -> None:
    home, _ = cooled
    with pytest.raises(NotLive, match="finished"):
        home.ask("checkpoint")


class ResetsItsRate(torch.optim.AdamW):
    """An optimizer with a will of its own."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] = 1e-3
        return super().step(closure)


def reset_rate(model: torch.nn.Module) -> tuple[Any, Any]:
    return ResetsItsRate(model.parameters(), lr=1e-3), None


def overwrite(**kwargs: Any) -> None:
    for group in kwargs["optimizer"].param_groups:
        group["lr"] = 1e-3


IGNORING: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "an optimizer that sets its own": ([], {"optimizers": reset_rate}),
    "a callback that overwrites": ([Do("on_step_begin", None, overwrite)], {}),
}


@pytest.mark.parametrize("what", IGNORING)
def test_a_change_that_the_maths_did_not_see_is_ineffective(home: Home, what: str) -> None:
    callbacks, how = IGNORING[what]
    asked(home, {4: set_lr(home, 2e-4)}, *callbacks, lr_scheduler_type="constant", **how)
    (request,) = home.requests()
    assert request.state == "ineffective" and request.effective is not None
    assert request.effective["verified"] is False and request.effective["lr_now"] == 1e-3
    told = home.node(5).effective
    assert told is not None and told["verified"] is False and told["lr_now"] == 1e-3
    assert request.error == "lr was to be 0.0002, and update 6 used 0.001."


def test_a_clipping_that_does_not_happen_is_ineffective(home: Home) -> None:
    class Unclipped(tiny.BranchingTrainer):
        """Clips at a norm of its own."""

        def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
            return torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)

    asked(home, {4: lambda: home.ask("set", values={"max_grad_norm": 0.01})}, kind=Unclipped)
    (request,) = home.requests()
    assert request.state == "ineffective" and request.effective is not None
    assert request.effective["grad_norm"] == pytest.approx(0.5, rel=1e-3)


def test_a_change_at_the_last_step_is_recorded_and_not_called_verified(home: Home) -> None:
    asked(home, {STEPS - 1: set_lr(home, 2e-4)})
    (request,) = home.requests()
    assert (home.final().kind, home.final().settings["lr"]) == ("final", 2e-4)
    assert request.state == "failed" and "ended" in (request.error or "")


def test_a_setting_that_cannot_be_written_fails_and_is_put_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(live: Any, value: float) -> None:
        live.options.max_grad_norm = value
        if value == 0.5:
            raise RuntimeError("no")

    monkeypatch.setitem(registry.NAMED, "max_grad_norm", (param_groups.read_max_grad_norm, broken))
    asked(home, {4: lambda: home.ask("set", values={"lr": 1e-5, "max_grad_norm": 0.5})})
    (request,) = home.requests()
    assert (request.state, request.error) == ("failed", "RuntimeError: no")
    assert home.final().settings["lr"] == 1e-3 and home.final().settings["max_grad_norm"] == 1.0


def test_a_request_ended_by_another_meanwhile_costs_no_node(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled between the moment it was seen and the moment it is answered."""

    def cancel(**_: Any) -> None:
        seen = home.requests()
        monkeypatch.setattr(control, "poll", lambda *_: seen)
        with home.database.transaction() as connection:
            requests.move(connection, seen[0].id, "cancelled", actor="bob")

    asked(home, {4: set_lr(home, 2e-4)}, Do("on_optimizer_step", 4, cancel))
    assert home.requests()[0].state == "cancelled"
    assert home.node(5).settings["lr"] == 2e-4 and home.final().kind == "final"


def test_a_state_that_cannot_be_captured_ends_no_training(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    def optimizers(model: torch.nn.Module) -> tuple[Any, Any]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        optimizer.param_groups[0]["odd"] = object()
        return optimizer, None

    trainer = asked(home, {4: set_lr(home, 2e-4)}, optimizers=optimizers)
    assert trainer.state.global_step == STEPS and home.nodes() == []
    (request,) = home.requests()
    assert request.state == "failed" and "odd" in (request.error or "")
    assert home.segment().status == "finished"
    warnings = [r for r in caplog.records if r.levelname == "WARNING" and "branchtrack" in r.name]
    assert len(warnings) == 1 and "odd" in warnings[0].getMessage()


def test_a_state_that_fails_in_any_way_ends_no_training(home: Home) -> None:
    class Broken(tiny.BranchingTrainer):
        """Cannot say how far it is."""

        def store_flos(self) -> None:
            if self.is_in_train and self._bt_session is not None:
                raise ZeroDivisionError("no flos")

    trainer = tiny.trainer(Broken, home.folder, logging_strategy="no", **SHORT)
    with pytest.raises(ZeroDivisionError):
        home.run(trainer)  # the Trainer itself calls it at the end
    assert trainer.state.global_step == STEPS
    assert home.segment().status == "failed"


NUMBERS = {
    "float": 1.5,
    "int": 2,
    "nan": math.nan,
    "inf": -math.inf,
    "numpy": np.float32(0.5),
    "integer": np.int64(3),
    "tensor": torch.tensor(0.25),
    "flag": True,
}
OTHERS = {
    "text": "1",
    "none": None,
    "list": [1.0],
    "many": torch.ones(2),
    "complex": 1j,
    "huge": 10**400,
}


def test_every_kind_of_number_is_logged_and_the_rest_is_named_once(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, max_steps=2)

    def log(**_: Any) -> None:
        for _again in range(2):
            trainer._bt_session.log(1, {**NUMBERS, **OTHERS})

    trainer.add_callback(Do("on_step_end", 1, log))
    home.run(trainer)
    found = {name: home.points(name, home.segment().id) for name in {**NUMBERS, **OTHERS}}
    assert {name for name, points in found.items() if points} == set(NUMBERS)
    assert found["numpy"] == {1: 0.5} and found["tensor"] == {1: 0.25}
    assert math.isnan(found["nan"][1]) and found["inf"] == {1: -math.inf}
    with home.database.read() as connection:
        told = [one for one in audit.since(connection) if one.kind == "metric"]
    assert [set(one.payload["names"]) for one in told] == [set(OTHERS)]
    assert len([line for line in caplog.messages if "not numbers" in line]) == 1


def test_one_process_alone_trains_a_launch(home: Home) -> None:
    home.train(**SHORT)
    launch = home.order(home.node(4))
    spies = [Spy(), Spy()]
    home.train(launch, callbacks=lambda: [spies[0]], **SHORT)
    with pytest.raises(BranchtrackError, match="finished"):
        home.train(launch, callbacks=lambda: [spies[1]], **SHORT)
    assert (len(spies[0].groups), len(spies[1].groups)) == (4, 0)
    assert home.segment(launch.branch_id).status == "finished"


def test_on_postgresql_it_is_the_same(tmp_path: Path, empty_postgres: str, untouched: Home) -> None:
    home = Home(tmp_path, empty_postgres)
    asked(home, {4: set_lr(home, 2e-4), 6: lambda: home.ask("evaluate")})
    changed, measured = home.requests()
    assert (changed.state, measured.state) == ("verified", "done")
    assert home.node(5).kind == "intervention" and home.chain_break() is None
    plain = untouched.points("loss", untouched.segment().id)
    assert home.points("loss", home.segment().id).keys() == plain.keys()
    launch = home.resume(home.node(5), **SHORT)
    assert home.final(launch).state_digest == home.final().state_digest
    home.close()


def test_no_thread_and_no_file_is_left_behind(home: Home, tmp_path: Path) -> None:
    before = {thread.name for thread in threading.enumerate()}
    home.train(**SHORT)
    assert {thread.name for thread in threading.enumerate()} == before
    assert list((home.config.store / "tmp").iterdir()) == []
