"""What a control point does with each kind of request, and what comes of it at the next update."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Annotated, Any

import pytest
import torch
from pydantic import Field

import branchtrack
from branchtrack import control
from branchtrack.core.records import Request
from branchtrack.db import audit, requests, runs, segments
from branchtrack.errors import InvalidInput
from branchtrack.training.loop.run import Run
from tests.training import loops
from tests.training.homes import Home

Ask = Callable[[Home], Any]


def asking(home: Home, asks: dict[int, list[Ask]], then: Callable[..., None] | None = None) -> Any:
    """Have others ask just before the control point of some updates, and wait for it to be seen."""

    def at(run: Run, optimizer: Any) -> None:
        step = run.step_number + 1
        for ask in asks.get(step, ()):
            ask(home)
        recorder = run._session.recorder
        assert recorder is not None
        if step in asks:
            deadline = time.monotonic() + 60
            want = len(asks[step])
            while len(recorder.inbox.pending) < want and time.monotonic() < deadline:
                time.sleep(0.002)
        if then is not None:
            then(run, optimizer)

    return at


def ask(kind: str, given: dict[str, Any] | None = None, **fields: Any) -> Ask:
    return lambda home: control.submit(
        home.database, "tiny/main", {"kind": kind, **fields}, actor="ann", reason="why", when=given
    )


#: The nodes that requests make are enough.
SAVE_LESS = {"save_steps": 1000}


def train(home: Home, asks: dict[int, list[Ask]], **given: Any) -> list[Request]:
    loops.train(home, at=asking(home, asks), **{**SAVE_LESS, **given})
    return home.requests()


def later(home: Home, *works: Callable[[Home], Any]) -> threading.Thread:
    """Do things one after the other from another thread, as soon as the run is paused."""

    def work() -> None:
        deadline = time.monotonic() + 60
        while status(home) != "paused" and time.monotonic() < deadline:
            time.sleep(0.01)
        for one in works:
            one(home)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def status(home: Home) -> str:
    with home.database.read() as connection:
        try:
            branch = runs.find_branch(connection, "tiny/main")
        except Exception:
            return ""
        return segments.get(connection, branch.segment_id or "").status


def answered(ask_: Ask) -> Callable[[Home], Request]:
    def work(home: Home) -> Request:
        return control.wait(home.database, ask_(home).id, 20)

    return work


def test_a_paused_run_answers_everything_and_goes_on(home: Home) -> None:
    found: list[Request] = []

    def look(home: Home) -> None:
        found.append(answered(ask("evaluate"))(home))
        found.append(answered(ask("set", values={"lr": 0.05}))(home))
        found.append(answered(ask("set", values={"lr": 0.02, "momentum": 0.5}))(home))
        found.append(answered(ask("checkpoint", message="held"))(home))
        found.append(answered(ask("unpause"))(home))

    thread = later(home, look)
    every = train(home, {4: [ask("pause")]})
    thread.join()
    states = [one.state for one in every]
    assert states == ["done", "done", "superseded", "verified", "done", "done"]
    assert [one.state for one in found] == ["done", "applied", "applied", "done", "done"]
    assert {one.step for one in every} == {4} and "eval_loss" in (found[0].result or {})["metrics"]
    assert home.final().step == loops.STEPS and home.final().settings["lr"] == 0.02
    with home.database.read() as connection:
        run_id = every[0].run_id
        told = [one.state for one in audit.since(connection, run_id) if one.kind == "segment"]
        assert audit.first_broken_seq(connection, run_id) is None
    assert told == ["running", "paused", "running", "finished"]


def test_a_pause_with_an_end_is_over_though_nobody_ends_it(home: Home) -> None:
    (request,) = train(home, {4: [ask("pause", seconds=0.1)]})
    assert (request.state, home.final().step) == ("done", loops.STEPS)
    states = [event.state for event in home.events("segment")]
    assert states == ["running", "paused", "running", "finished"]


def test_a_stop_ends_a_pause(home: Home) -> None:
    thread = later(home, ask("stop"))
    every = train(home, {3: [ask("pause")]})
    thread.join()
    assert [one.state for one in every] == ["done", "done"] and home.final().step == 3


@pytest.mark.parametrize(("when", "step"), [("epoch", 7), ("checkpoint", 5)])
def test_a_stop_can_wait(home: Home, when: str, step: int) -> None:
    (request,) = train(home, {3: [ask("stop", when=when)]}, save_steps=5)
    assert (request.state, request.step, home.final().step) == ("done", step, step)


def test_a_waiting_request_can_be_cancelled_until_it_is_carried_out(home: Home) -> None:
    made: list[Request] = []

    def cancel(home: Home) -> None:
        made.append(ask("stop", when="epoch")(home))
        control.cancel(home.database, made[0].id, actor="bob")
        assert control.wait(home.database, made[0].id, 20).state == "cancelled"

    loops.train(home, at=asking(home, {}, lambda run, _: run.step_number == 2 and cancel(home)))
    (request,) = home.requests()
    assert home.final().step == loops.STEPS
    with home.database.read() as connection:
        events = [e for e in audit.since(connection, request.run_id) if e.ref == request.id]
    assert [(e.state, e.actor) for e in events][2:] == [
        ("cancel asked", "bob"),
        ("cancelled", "bob"),
    ]
    with pytest.raises(InvalidInput, match="branch|too late|request"):
        control.cancel(home.database, request.id, actor="bob")


def test_conditions_are_looked_at_where_nothing_can_come_in_between(home: Home) -> None:
    every = train(
        home,
        {
            2: [
                ask("set", {"only_if": {"lr": 0.1}}, values={"lr": 0.05}),
                ask("set", {"only_if": {"lr": "0.1"}}, values={"lr": 0.01}),
                ask("set", {"not_after_step": 1}, values={"momentum": 0.1}),
                ask("set", {"not_after_step": 2}, values={"momentum": 0.2}),
            ]
        },
    )
    assert [one.state for one in every] == ["verified", "failed", "expired", "verified"]
    assert "lr is 0.1, but it is 0.05" in (every[1].error or "")
    assert "by step 1, and training is at step 2" in (every[2].error or "")
    assert home.final().settings["lr"] == 0.05 and home.final().settings["momentum"] == 0.2


def test_a_deadline_passes_while_a_step_lasts(home: Home) -> None:
    made: list[Request] = []

    def hang(run: Run, _: Any) -> None:
        if run.step_number == 2:
            made.append(ask("set", {"expires_in": 0.05}, values={"lr": 0.05})(home))
            assert control.wait(home.database, made[0].id, 20).state == "expired"

    loops.train(home, at=hang, **SAVE_LESS)
    assert home.final().settings["lr"] == 0.1


def test_a_module_that_is_reset_forgets(home: Home) -> None:
    before: dict[str, torch.Tensor] = {}
    model = loops.net()

    def keep(run: Run, optimizer: Any) -> None:
        if run.step_number == 3:
            before.update({k: v.clone() for k, v in model.state_dict().items()})

    loops.train(
        home,
        **SAVE_LESS,
        model=lambda: model,
        at=asking(
            home,
            {
                2: [ask("freeze", modules="0,1.weight")],
                4: [ask("reset", modules="4"), ask("unfreeze", modules="0.bias")],
            },
            keep,
        ),
    )
    freeze, reset, thaw = home.requests()
    assert [one.state for one in (freeze, reset, thaw)] == ["verified", "done", "verified"]
    assert freeze.applied == {"frozen": "0,1.weight"}
    assert thaw.applied == {"frozen": "0.weight,1.weight"}
    assert reset.result == {"modules": ["4"], "parameters": 18}
    node = home.node(4)
    assert {c.name: c.after for c in node.changes} == {
        "frozen": "0.weight,1.weight",
        "reset": "4",
    }
    assert not torch.equal(home.snapshot(node).tensors["model/4.weight"], before["4.weight"])
    assert torch.equal(home.snapshot(node).tensors["model/0.weight"], before["0.weight"])


class Scale:
    """An action of the author's own."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, bool]] = []

    def __call__(self, factor: Annotated[float, Field(gt=0, le=10)], loud: bool = False) -> Any:
        """Scale something."""
        if factor == 7:
            raise RuntimeError("seven")
        self.seen.append((factor, loud))
        return {"now": factor}


def test_actions_of_the_authors_own_are_called_with_typed_arguments(home: Home) -> None:
    scale = Scale()
    every = train(
        home,
        {
            2: [ask("act", action="scale", arguments={"factor": "2.5"})],
            4: [ask("act", action="scale", arguments={"factor": 7, "loud": True})],
        },
        actions={"scale": scale},
    )
    assert [one.state for one in every] == ["done", "failed"] and scale.seen == [(2.5, False)]
    assert every[0].result == {"returned": {"now": 2.5}}
    assert every[1].error == "RuntimeError: seven" and home.final().step == loops.STEPS
    (change,) = home.node(2).changes
    assert (change.name, change.after) == ("act.scale", {"factor": 2.5, "loud": False})


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({}, "factor"),
    ({"factor": 0}, "factor"),
    ({"factor": "nan"}, "factor"),
    ({"factor": 1, "loud": 1}, "loud"),
    ({"factor": 1, "other": 2}, "other"),
]


def test_arguments_are_validated_at_the_door(home: Home) -> None:
    def try_all(run: Run, optimizer: Any) -> None:
        for arguments, field in ARGUMENTS if run.step_number == 0 else ():
            with pytest.raises(InvalidInput, match=field):
                ask("act", action="scale", arguments=arguments)(home)

    loops.train(home, actions={"scale": Scale()}, max_steps=2, at=try_all)
    assert [one.state for one in home.requests()] == ["rejected"] * len(ARGUMENTS)


def groups(model: torch.nn.Module) -> torch.optim.Optimizer:
    """Two groups, of which the first does not train."""
    model[0].requires_grad_(False)
    parts = [
        {"params": list(model[0].parameters()), "lr": 0.1},
        {
            "params": [*model[1].parameters(), *model[4].parameters()],
            "lr": 0.0,
        },
    ]
    return torch.optim.SGD(parts, lr=0.1)


def half(dropout: float = 0.0) -> torch.nn.Module:
    """Weights that tell no small changes apart."""
    torch.manual_seed(1)
    return torch.nn.Linear(6, 2, dtype=torch.bfloat16)


class Halves(loops.Points):
    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        return x.bfloat16(), y


def stale(optimizer: Any) -> Callable[..., None]:
    """A schedule that the script has written by itself, stepped after each update."""
    rate = optimizer.param_groups[0]["lr"]
    return lambda: optimizer.param_groups[0].update(lr=rate)


def test_a_rate_that_the_script_takes_back_is_ineffective(home: Home) -> None:
    steps: list[Callable[..., None]] = []

    def optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
        found = loops.sgd(model)
        steps.append(stale(found))
        return found

    asks = {3: [ask("set", values={"lr": 0.01})]}
    at = asking(home, asks, lambda *_: steps[0]())
    loops.train(home, optimizer=optimizer, at=at, **SAVE_LESS)
    (request,) = home.requests()
    assert request.state == "ineffective" and "reset the rate to 0.1" in (request.error or "")


def test_the_rate_of_a_group_that_does_not_train_is_ineffective(home: Home) -> None:
    (request,) = train(home, {3: [ask("set", values={"lr": 0.01})]}, optimizer=groups)
    assert request.state == "ineffective" and "had a gradient" in (request.error or "")
    assert request.before == {"lr": 0.1} and (request.effective or {})["lr"] == 0.01


def test_a_flag_that_the_loop_ignores_is_ineffective(home: Home) -> None:
    (request,) = train(
        home, {3: [ask("set", values={"aux": 0.5})]}, settings={"aux": branchtrack.setting(0.1)}
    )
    assert request.state == "ineffective" and "did not use it" in (request.error or "")


@pytest.mark.parametrize(("value", "state"), [(1e-9, "ineffective"), (0.5, "verified")])
def test_a_change_too_small_for_bfloat16_is_ineffective(
    home: Home, value: float, state: str
) -> None:
    (request,) = train(
        home,
        {3: [ask("set", values={"lr": value})]},
        model=half,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=2e-9),
        data=lambda: loops.loader(data=Halves()),
    )
    assert request.state == state, request.error
    told = (request.effective or {})["update"]
    assert (told["changed"] > 0) == (state == "verified") and told["elements"] == 14


def test_two_changes_of_one_setting_are_both_recorded_in_order(home: Home) -> None:
    first, second = train(
        home, {3: [ask("set", values={"lr": 0.05}), ask("set", values={"lr": 0.02})]}
    )
    assert (first.state, second.state) == ("superseded", "verified")
    assert (first.before, second.before) == ({"lr": 0.1}, {"lr": 0.05})
    assert first.node_id == second.node_id == home.node(3).id
    assert (first.applied, second.applied) == ({"lr": 0.05}, {"lr": 0.02})
    with home.database.read() as connection:
        assert [one.id for one in requests.carried_out(connection, first.segment_id or "")] == [
            first.id,
            second.id,
        ]


def test_a_change_of_every_kind_is_made_again_by_a_trial(home: Home) -> None:
    scale = Scale()
    asks = {
        2: [ask("freeze", modules="0")],
        4: [ask("reset", modules="4"), ask("act", action="scale", arguments={"factor": 2})],
    }
    train(home, asks, actions={"scale": scale}, save_steps=1)
    start, target = home.node(1), home.final()
    found = home.rehearse(start, target, lambda: loops.train(home, actions={"scale": scale}))
    assert found is not None and found.exact, found
    assert len(scale.seen) == 2


def test_a_loop_that_goes_on_behind_a_stop_has_not_stopped(home: Home) -> None:
    model = loops.net()
    optimizer = loops.sgd(model)
    with loops.process(home):
        run = branchtrack.start("tiny", model=model, optimizer=optimizer)
    for number in range(12):
        loops.loss_of(model, (torch.randn(4, 6), torch.randint(0, 2, (4,)))).backward()
        optimizer.step()
        if number == 2:
            asking(home, {3: [ask("stop")]})(run, optimizer)
        run.step()
    recorder = run._session.recorder
    assert recorder is not None and recorder.inbox.wait(0) is False
    run.finish()
    (request,) = home.requests()
    assert request.state == "failed" and "continues" in (request.error or "")
    assert request.step == 3 and home.final().step == 3


class Own(torch.optim.lr_scheduler.LRScheduler):
    """A schedule of somebody's own, that knows one rate."""

    peak = 0.05

    def get_lr(self) -> list[float]:
        return [self.peak * 0.99**self.last_epoch for _ in self.optimizer.param_groups]


def swa(optimizer: Any) -> Any:
    return torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)


def cycle(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(optimizer, 0.001, 0.05, 3, 3)


@pytest.mark.parametrize(
    ("schedule", "state", "most"),
    [(Own, "ineffective", 0.05), (swa, "verified", 0.01), (cycle, "verified", 0.01)],
)
def test_a_rate_is_the_peak_of_what_its_schedule_makes_of_it(
    home: Home, schedule: Any, state: str, most: float
) -> None:
    used: list[float] = []

    def note(run: Run, optimizer: Any) -> None:
        used.append(optimizer.param_groups[0]["lr"])

    at = asking(home, {3: [ask("set", values={"lr": 0.01})]}, note)
    loops.train(home, scheduler=schedule, at=at, **SAVE_LESS)
    (request,) = home.requests()
    assert request.state == state, request.error
    assert max(used[3:]) <= most * 1.0001 and used[-1] > 0
    if schedule is not swa:
        assert max(used[3:]) > most * 0.9


@pytest.mark.parametrize("value", [0.5, 0.9])
def test_what_an_optimizer_keeps_for_later_updates_is_an_effect(home: Home, value: float) -> None:
    (request,) = train(
        home,
        {3: [ask("set", values={"momentum": value})]},
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
    )
    assert request.state == "verified", request.error


def test_a_change_that_no_update_shows_holds_up_nothing_else(home: Home) -> None:
    model = loops.net()
    optimizer = loops.sgd(model)
    with loops.process(home):
        run = branchtrack.start("tiny", model=model, optimizer=optimizer, data=loops.loader())
    asks = {
        3: [ask("set", values={"lr": 0.01})],
        5: [ask("checkpoint")],
        6: [ask("set", values={"lr": 0.02})],
        7: [ask("stop")],
    }
    at = asking(home, asks)
    for number, batch in enumerate(run.batches()):
        loops.loss_of(model, batch).backward()
        if number < 2:
            optimizer.step()
        optimizer.zero_grad()
        at(run, optimizer)
        if run.step():
            break
    run.finish()
    states = [one.state for one in home.requests()]
    assert states == ["superseded", "done", "failed", "done"]
    assert "was applied, but no update has shown" in (home.requests()[2].error or "")
