"""A signal in any phase of a training has a node made first, and then means what it means."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import branchtrack
from branchtrack.training.record.recorder import Recorder
from branchtrack.training.session import signals
from branchtrack.training.session.session import Session
from tests.matrices import some
from tests.training import loops, tiny
from tests.training.callbacks import At, Do
from tests.training.homes import Home

STEPS = 8
TERM, INT, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1


@pytest.fixture
def each_signal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SAME_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Every test leaves the process's handlers as they were."""
    before = {number: signal.getsignal(number) for number in signals.HANDLED}
    yield
    after = {number: signal.getsignal(number) for number in signals.HANDLED}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


def send(number: int = TERM) -> Callable[..., None]:
    """Sends this process a signal, whatever it is given."""
    return lambda *_, **__: os.kill(os.getpid(), number)


def train(home: Home, *events: Any, **how: Any) -> Any:
    """A trainer with callbacks ``(event, step, work)``, trained."""
    made = [Do(*event) for event in events]
    trainer = tiny.trainer(
        tiny.BranchingTrainer, home.folder, callbacks=lambda: made, **{"max_steps": STEPS, **how}
    )
    return home.run(trainer)


def left(home: Home) -> tuple[str, str | None, int, str]:
    """How ``tiny/main`` has ended: status, reason, step of its last node, kind of that."""
    segment, node = home.segment(), home.nodes()[-1]
    return segment.status, segment.error, node.step, node.kind


EVALUATED: dict[str, Any] = {
    "max_steps": STEPS,
    "save_steps": 100,
    "eval_strategy": "steps",
    "eval_steps": 5,
}
PHASES: dict[str, tuple[str, int, int, int]] = {
    # event, global step there, the step named, the node's step
    "before the first update": ("on_train_begin", 0, 0, 1),
    "forward": ("on_step_begin", 4, 4, 5),
    "backward": ("on_pre_optimizer_step", 4, 4, 5),
    "the update": ("on_optimizer_step", 4, 4, 5),
    "the end of a step": ("on_step_end", 4, 3, 4),
    "an evaluation": ("on_prediction_step", 5, 5, 5),
    "after an evaluation": ("on_evaluate", 5, 5, 5),
    "the last update of an epoch": ("on_step_begin", 5, 5, 6),
    "the end of an epoch": ("on_epoch_end", 6, 6, 6),
}


@pytest.fixture(scope="module")
def undisturbed(shared_home: Home) -> str:
    """The digest of what a training ends in to which no signal is sent."""
    shared_home.train(**EVALUATED)
    return shared_home.final().state_digest


@pytest.mark.parametrize(
    "phase", some(PHASES, "forward", "an evaluation", "the last update of an epoch")
)
def test_a_signal_in_any_phase_makes_a_node_and_the_resume_is_exact(
    phase: str, home: Home, undisturbed: str
) -> None:
    event, step, named, node = PHASES[phase]
    sent: list[int] = []

    def once(**_: Any) -> None:
        if not sent:
            sent.append(1)
            send()()

    with pytest.raises(SystemExit) as caught:
        train(home, (event, step, once), **EVALUATED)
    assert caught.value.code == 143
    status, error, last, kind = left(home)
    assert (status, error, kind) == ("stopped", f"SIGTERM at step {named}", "final")
    assert last in (node, node + 1), "the next control point may be a step away"
    assert home.nodes()[-1].message == error
    (line,) = home.events("signal")
    assert (line.state, line.reason) == ("received", error) and home.chain_break() is None
    launch = home.resume(home.nodes()[-1], **EVALUATED)
    assert home.final(launch).state_digest == undisturbed


@pytest.mark.parametrize(("number", "error"), [(INT, KeyboardInterrupt), (USR1, SystemExit)])
def test_ctrl_c_and_usr1_make_a_node_before_they_mean_what_they_mean(
    number: signal.Signals, error: type[BaseException], home: Home
) -> None:
    with pytest.raises(error) as caught:
        train(home, ("on_step_begin", 4, send(number)), save_steps=100)
    assert left(home)[:2] == ("stopped", f"{number.name} at step 4")
    assert left(home)[2] in (5, 6)
    assert getattr(caught.value, "code", 138) == 138


def test_a_signal_at_the_last_step_leaves_a_finished_run(home: Home) -> None:
    with pytest.raises(SystemExit):
        train(home, ("on_train_end", STEPS, send()), save_steps=100)
    assert left(home) == ("finished", None, STEPS, "final")
    assert [event.reason for event in home.events("signal")] == [f"SIGTERM at step {STEPS}"]


def test_a_handler_of_the_scripts_runs_after_the_node_and_decides(home: Home) -> None:
    seen: list[int] = []
    signal.signal(TERM, lambda number, _: seen.append(len(home.nodes()) + number))
    try:
        trainer = train(home, ("on_step_begin", 4, send()), save_steps=100)
    finally:
        signal.signal(TERM, signal.SIG_DFL)
    assert seen == [2 + TERM] and trainer.state.global_step in (5, 6)
    assert left(home)[:2] == ("stopped", "SIGTERM at step 4")


@pytest.mark.usefixtures("each_signal_counts")
def test_a_handler_of_the_scripts_that_goes_on_after_a_second_signal_still_gets_a_node(
    home: Home,
) -> None:
    seen: list[int] = []
    signal.signal(TERM, lambda number, _: seen.append(number))

    def twice(**_: Any) -> None:
        send()()
        send()()

    try:
        train(home, ("on_step_begin", 4, twice), save_steps=100)
    finally:
        signal.signal(TERM, signal.SIG_DFL)
    assert seen == [TERM, TERM]
    assert left(home)[:2] == ("stopped", "SIGTERM at step 4") and left(home)[2] in (5, 6)


def test_a_handler_of_the_scripts_that_exits_has_its_exit_code(home: Home) -> None:
    def leave(*_: Any) -> None:
        raise SystemExit(7)

    signal.signal(TERM, leave)
    try:
        with pytest.raises(SystemExit) as caught:
            train(home, ("on_step_begin", 4, send()), save_steps=100)
    finally:
        signal.signal(TERM, signal.SIG_DFL)
    assert caught.value.code == 7 and left(home)[2] in (5, 6)


def test_a_signal_that_the_process_ignores_stays_ignored(home: Home) -> None:
    signal.signal(USR1, signal.SIG_IGN)
    try:
        train(home, ("on_step_begin", 4, send(USR1)), save_steps=100)
    finally:
        signal.signal(USR1, signal.SIG_DFL)
    assert left(home) == ("finished", None, STEPS, "final") and home.events("signal") == []


@pytest.mark.parametrize(("number", "error"), [(TERM, SystemExit), (INT, KeyboardInterrupt)])
@pytest.mark.usefixtures("each_signal_counts")
def test_a_second_signal_means_now_and_says_what_that_cost(
    number: signal.Signals, error: type[BaseException], home: Home
) -> None:
    def twice(**_: Any) -> None:
        send(number)()
        send(number)()

    with pytest.raises(error):
        train(home, ("on_step_begin", 4, twice), save_steps=3)
    status, why, last, _ = left(home)
    assert (status, last) == ("stopped", 3)
    assert why is not None and "came again first; what followed the newest node is lost" in why


def test_a_loop_that_comes_to_no_control_point_is_ended_when_its_time_is_over(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "LIMIT_SECONDS", 0.3)

    def hang(**_: Any) -> None:
        send()()
        time.sleep(60)

    started = time.monotonic()
    with pytest.raises(SystemExit) as caught:
        train(home, ("on_step_begin", 4, hang), save_steps=3)
    assert caught.value.code == 143 and time.monotonic() - started < 50
    status, why, last, _ = left(home)
    assert (status, last) == ("stopped", 3)
    assert why is not None and "no control point within 0.3 s" in why


@pytest.mark.parametrize("step", [4, 6], ids=["within an epoch", "at its end"])
def test_an_evaluation_that_takes_too_long_is_cut_short_for_a_node(
    step: int, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "EVALUATION_SECONDS", 0.3)
    drawn: list[Any] = []

    def slow(**_: Any) -> None:
        # What an evaluation draws is no matter of training.
        drawn.append(torch.rand(3))
        send()()
        time.sleep(60)

    how: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": step, "save_steps": 100}
    how["max_steps"] = STEPS
    with pytest.raises(SystemExit) as caught:
        train(home, ("on_prediction_step", step, slow), **how)
    assert caught.value.code == 143 and len(drawn) == 1
    words = f"SIGTERM at step {step}: its evaluation was cut short"
    assert left(home) == ("stopped", words, step, "final")
    assert home.nodes()[-1].message == words
    whole = Home(tmp_path / "whole")
    whole.train(**how)
    launch = home.resume(home.nodes()[-1], **how)
    ended, expected = (
        one.snapshot(n).tensors for one, n in ((home, home.final(launch)), (whole, whole.final()))
    )
    assert {name for name, t in expected.items() if not torch.equal(t, ended[name])} == set()
    whole.close()


def test_a_paused_training_answers_a_signal_at_once(home: Home) -> None:
    def pause() -> None:
        home.ask("pause")
        threading.Thread(target=stop_when_paused, daemon=True).start()

    def stop_when_paused() -> None:
        while home.segment().status != "paused":
            time.sleep(0.01)
        send()()

    at = At(4, pause)
    how = {"max_steps": STEPS, "save_steps": 100}
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, callbacks=lambda: [at], **how)
    at.trainer = trainer
    with pytest.raises(SystemExit):
        home.run(trainer)
    status, error, last, _ = left(home)
    assert status == "stopped" and error == f"SIGTERM at step {last}"


def test_a_signal_while_a_commit_is_under_way_waits_for_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from branchtrack.checkpoints.packs import Store

    put = Store.put

    def slowly(self: Store, *given: Any) -> Any:
        time.sleep(0.2)
        return put(self, *given)

    monkeypatch.setattr(Store, "put", slowly)
    with pytest.raises(SystemExit):
        train(home, ("on_step_begin", 3, send()), save_steps=3)
    assert [node.step for node in home.nodes()][:2] == [0, 3]
    assert left(home)[2] in (4, 5) and left(home)[0] == "stopped"


@pytest.mark.usefixtures("each_signal_counts")
@pytest.mark.parametrize("second", [False, True], ids=["once", "twice"])
def test_a_signal_while_the_record_is_closed_leaves_no_run_lost(
    second: bool, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, calls = Recorder.close, [0]

    def closing(self: Recorder, last: Any) -> list[str]:
        calls[0] += 1
        if calls[0] == 1:
            send()()
        if calls[0] == 1 and second:
            send()()
        return close(self, last)

    monkeypatch.setattr(Recorder, "close", closing)
    with pytest.raises(SystemExit):
        train(home, save_steps=100)
    assert left(home)[2:] == (STEPS, "final")
    assert left(home)[0] == ("stopped" if second else "finished")


def test_a_signal_in_another_threads_training_is_not_ours(home: Home) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(train(home)))
    thread.start()
    thread.join()
    assert found and left(home)[0] == "finished"


def test_an_error_after_a_signal_is_told_with_it(home: Home) -> None:
    def break_down(**_: Any) -> None:
        send()()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        train(home, ("on_step_begin", 4, break_down), save_steps=100)
    assert left(home)[:2] == ("failed", "ValueError: broken (after SIGTERM at step 4)")


def loop(home: Home, at: Callable[[Any, Any], None], **given: Any) -> Any:
    """A plain loop in which ``at`` is called before each control point."""
    return loops.train(home, at=at, **{"max_steps": 9, "save_steps": 100, **given})


@pytest.fixture(scope="module")
def undisturbed_loop(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of what a plain loop ends in to which no signal is sent."""
    home = Home(tmp_path_factory.mktemp("loop"))
    loop(home, lambda *_: None)
    home.close()
    return home.final().state_digest


@pytest.mark.parametrize(
    ("number", "error"), [(TERM, SystemExit), (INT, KeyboardInterrupt), (USR1, SystemExit)]
)
def test_a_plain_loop_makes_a_node_too_and_the_resume_is_exact(
    number: signal.Signals, error: type[BaseException], home: Home, undisturbed_loop: str
) -> None:
    def at(run: Any, _: Any) -> None:
        if run.step_number == 4:
            send(number)()

    with pytest.raises(error):
        loop(home, at)
    assert left(home)[:2] == ("stopped", f"{number.name} at step 4")
    assert left(home)[2] in (5, 6)
    launch = home.order(home.nodes()[-1])
    loops.train(home, launch, max_steps=9, save_steps=100)
    assert home.final(launch).state_digest == undisturbed_loop


def begun(home: Home, **given: Any) -> tuple[Any, torch.nn.Module, torch.optim.Optimizer]:
    """A loop's run, model and optimizer."""
    model = loops.net()
    optimizer = loops.sgd(model)
    with loops.process(home):
        run = branchtrack.start("tiny", model=model, optimizer=optimizer, **given)
    return run, model, optimizer


def test_a_script_that_catches_ctrl_c_itself_goes_on_after_the_node(home: Home) -> None:
    run, model, optimizer = begun(home, data=loops.loader(), max_steps=9)
    try:
        for batch in run.batches():
            loops.loss_of(model, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
            if run.step_number == 3:
                send(INT)()
            if run.step():
                break
        raise AssertionError("there was no Ctrl-C")
    except KeyboardInterrupt:
        run.log(late=1.0)
    run.finish()
    assert left(home) == ("stopped", "SIGINT at step 3", 4, "final") and run.is_over


def test_a_signal_after_the_last_control_point_is_answered_by_finish(home: Home) -> None:
    run, *_ = begun(home)
    run.step()
    send()()
    with pytest.raises(SystemExit):
        run.finish()
    assert left(home) == ("finished", None, 0, "root")


def test_a_loop_that_never_comes_back_is_ended_when_its_time_is_over(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "LIMIT_SECONDS", 0.3)
    run, *_ = begun(home)
    with pytest.raises(KeyboardInterrupt), run:
        send(INT)()
        time.sleep(60)
    assert left(home)[0] == "stopped" and "no control point" in (left(home)[1] or "")


@pytest.mark.parametrize(("number", "error"), [(TERM, SystemExit), (INT, KeyboardInterrupt)])
def test_a_signal_that_loader_workers_get_too_ends_in_a_node(
    number: signal.Signals, error: type[BaseException], home: Home
) -> None:
    run, model, optimizer = begun(home, data=loops.loader(num_workers=2), max_steps=9)
    with pytest.raises(error), run:
        for batch in run.batches():
            loops.loss_of(model, batch).backward()
            optimizer.step()
            optimizer.zero_grad()
            if run.step_number == 2:
                # A terminal and a scheduler send it to all processes of the group.
                send(number)()
                for child in torch.multiprocessing.active_children():
                    os.kill(child.pid or 0, number)
                time.sleep(0.2)
            run.step()
    assert left(home) == ("stopped", f"{number.name} at step 2", 3, "final")


@pytest.mark.parametrize("number", some(signals.HANDLED, TERM, INT))
@pytest.mark.parametrize("data", some([loops.Points, loops.Flow], loops.Points))
def test_workers_go_on_giving_batches_when_a_group_is_signalled(
    number: signal.Signals, data: Callable[..., Any], home: Home
) -> None:
    def at(run: Any, _: Any) -> None:
        if run.step_number == 2:
            workers = [str(child.pid) for child in torch.multiprocessing.active_children()]
            assert len(workers) == 2
            # Not this process, which is their parent: somebody else.
            subprocess.run(["kill", f"-{int(number)}", *workers], check=True)

    loop(home, at, data=lambda: loops.loader(data=data(count=24), num_workers=2))
    assert left(home) == ("finished", None, 9, "final")
    assert torch.multiprocessing.active_children() == []


def test_of_two_runs_that_are_open_each_makes_its_node(home: Home) -> None:
    first, *_ = begun(home)
    second, *_ = begun(home)
    for run in (first, second):
        assert run.step() is False
    send()()
    second._effects.moved = True
    assert second.step() is True, "the signal now means what the first run makes of it"
    first._effects.moved = True
    with pytest.raises(SystemExit):
        first.step()
    for name in ("tiny/main", "tiny-2/main"):
        assert (home.segment(name).status, home.nodes(name)[-1].step) == ("stopped", 1)


def test_runs_that_end_in_another_order_leave_no_handler_that_swallows_signals(home: Home) -> None:
    first, *_ = begun(home)
    second, *_ = begun(home)
    first.finish()
    second.finish()
    try:
        with pytest.raises(SystemExit):
            send()()
            time.sleep(1)
    finally:
        signal.signal(TERM, signal.SIG_DFL)
        signal.signal(INT, signal.default_int_handler)
        signal.signal(USR1, signal.SIG_DFL)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_was_forked_off_ends_by_a_signal_as_ever(home: Home) -> None:
    def fork(**_: Any) -> None:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        time.sleep(0.1)
        os.kill(child, TERM)
        ended.append(os.WTERMSIG(os.waitpid(child, 0)[1]))

    ended: list[int] = []
    train(home, ("on_step_begin", 4, fork), save_steps=100)
    assert ended == [TERM] and left(home) == ("finished", None, STEPS, "final")


def test_an_idle_control_point_tests_the_flag_that_requests_set_and_nothing_more() -> None:
    names = Session.is_due.__code__.co_names
    assert "signals" not in names and "waiting" in names
