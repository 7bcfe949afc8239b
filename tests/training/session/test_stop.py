"""A process ends at the step that its resume names, evaluated, and under the schedule as it is."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from torch.optim.lr_scheduler import CosineAnnealingLR

import branchtrack
from branchtrack.core.records import Launch
from branchtrack.errors import InvalidInput
from branchtrack.training.session.stop import Stop
from branchtrack.training.trainer import state
from tests.training import loops, tiny
from tests.training.homes import Home

SCHEDULED: dict[str, Any] = {"scheduler": lambda optimizer: CosineAnnealingLR(optimizer, 9)}


def stopped(home: Home, launch: Launch, how: dict[str, Any]) -> Any:
    """The final node of a launch that has been trained by a loop."""
    loops.train(home, launch, **how)
    return home.final(launch)


def test_it_is_reached_at_its_step_alone_and_counts_what_is_logged_there() -> None:
    stop = Stop(4)
    stop.note(3, ["loss"])
    stop.note(4, ["lr"])
    assert not stop.is_reached(3) and stop.is_reached(4) and not Stop(None).is_reached(9)
    assert stop.logged(4) == {"lr"} and stop.logged(3) == set()
    assert stop.lacks_evaluation(4)
    stop.evaluated_at = 4
    assert not stop.lacks_evaluation(4)


def test_training_ends_at_the_stop_or_at_its_own_end_if_that_is_earlier() -> None:
    stop = Stop(4)
    assert [stop.before(last) for last in (9, 3, None)] == [4, 3, 4]
    stop.step = None
    assert stop.before(9) == 4
    assert (Stop(None).before(9), Stop(None).before(None)) == (9, None)


@pytest.mark.parametrize("evaluated", [False, True])
@pytest.mark.parametrize("save", [1, 1000])
def test_a_loop_stops_in_the_bits_of_the_training_that_went_on(
    evaluated: bool, save: int, home: Home
) -> None:
    how = {**SCHEDULED, "evaluated": evaluated}
    loops.train(home, **how)
    launch = home.order(home.node(2), {"stop_at": "+4", "save_steps": save})
    final = stopped(home, launch, how)
    assert (final.step, final.kind) == (6, "final")
    assert final.state_digest == home.node(6).state_digest
    assert final.settings["max_steps"] == loops.STEPS and "stop_at" not in final.settings
    assert "stop_at" in final.message
    segment = home.segment(launch.branch_id)
    assert (segment.status, segment.step, segment.max_steps) == ("stopped", 6, 6)
    assert "stop_at" in {change.name for change in home.fork(launch).changes}


def test_a_loop_evaluates_where_it_stops_unless_it_has_done_so_itself(home: Home) -> None:
    counts: list[int] = []

    def evaluate() -> dict[str, float]:
        counts.append(1)
        return {"eval_loss": 0.5}

    def evaluating(run: Any, _optimizer: Any) -> None:
        if run.update == 5:
            run.evaluate()

    loops.train(home)
    node = home.node(2)
    plain = home.order(node, {"stop_at": 5})
    loops.train(home, plain, evaluate=evaluate)
    assert len(counts) == 1 and home.points("eval_loss", plain.segment_id) == {5: 0.5}
    own = home.order(node, {"stop_at": 5})
    loops.train(home, own, evaluate=evaluate, at=evaluating)
    assert len(counts) == 2 and home.points("eval_loss", own.segment_id) == {5: 0.5}
    assert home.final(own).state_digest == home.final(plain).state_digest
    without = home.order(node, {"stop_at": 5})
    loops.train(home, without, evaluate=None)
    assert home.points("eval_loss", without.segment_id) == {}
    assert home.final(without).state_digest == home.final(plain).state_digest


def test_a_metric_that_was_logged_there_is_not_logged_again(home: Home) -> None:
    def logging_it(run: Any, _optimizer: Any) -> None:
        run.log(eval_loss=0.25)

    loops.train(home)
    launch = home.order(home.node(2), {"stop_at": 5})
    loops.train(home, launch, evaluate=lambda: {"eval_loss": 0.5, "more": 1.0}, at=logging_it)
    assert home.points("eval_loss", launch.segment_id)[5] == 0.25
    assert home.points("more", launch.segment_id) == {5: 1.0}


def test_an_evaluation_that_fails_does_not_keep_training_from_its_end(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    def evaluate() -> dict[str, float]:
        raise RuntimeError("no data")

    loops.train(home)
    launch = home.order(home.node(2), {"stop_at": 5})
    with caplog.at_level(logging.WARNING, "branchtrack"):
        final = stopped(home, launch, {"evaluate": evaluate})
    assert (final.step, final.kind) == (5, "final") and "no data" in caplog.text


def test_what_was_asked_for_is_carried_out_where_it_stops_but_a_pause_is_refused(
    home: Home,
) -> None:
    asked: list[Any] = []

    def asking(run: Any, _optimizer: Any) -> None:
        if run.update == 5:
            branch = launch.branch_id
            asked.append(home.ask("set", branch, values={"lr": 0.2}))
            asked.append(home.ask("pause", branch))
            asked.append(home.ask("evaluate", branch))
            run._session.recorder.look()

    loops.train(home)
    launch = home.order(home.node(2), {"stop_at": 5})
    counts: list[int] = []
    loops.train(home, launch, evaluate=lambda: counts.append(1) or {"eval_loss": 1.0}, at=asking)
    final = home.final(launch)
    assert (final.step, final.kind) == (5, "final")
    assert [home.request(one.id).state for one in asked[1:]] == ["failed", "done"]
    assert len(counts) == 1 and final.settings["lr"] == 0.2


def test_a_later_resume_of_the_branch_trains_to_the_end_of_the_schedule(home: Home) -> None:
    loops.train(home, **SCHEDULED)
    first = home.order(home.node(2), {"stop_at": 5})
    middle = stopped(home, first, SCHEDULED)
    launch = home.order(middle)
    final = stopped(home, launch, SCHEDULED)
    assert final.step == loops.STEPS and final.state_digest == home.final().state_digest
    of_fork = home.order(home.fork(first))
    assert stopped(home, of_fork, SCHEDULED).step == loops.STEPS


def test_it_may_be_the_last_step_of_training(home: Home) -> None:
    loops.train(home)
    launch = home.order(home.node(2), {"stop_at": loops.STEPS})
    final = stopped(home, launch, {})
    assert final.state_digest == home.final().state_digest
    assert home.segment(launch.branch_id).status == "finished"


def test_with_the_weights_alone_it_stops_there_too(home: Home) -> None:
    loops.train(home)
    launch = home.order(home.node(3), {"stop_at": "+2"}, mode="weights")
    assert stopped(home, launch, {}).step == 5


def test_a_script_stops_by_the_settings_of_its_own_resume(home: Home) -> None:
    loops.train(home)
    node = home.node(2)
    run = loops.train(home, resume=node.id, set={"stop_at": "+3"}, branch="short")
    assert run.step_number == 5
    final = home.nodes("tiny/short")[-1]
    assert (final.kind, final.state_digest) == ("final", home.node(5).state_digest)
    with pytest.raises(InvalidInput, match="stop_at") as caught:
        loops.train(home, resume=node.id, set={"stop_at": 2})
    assert "greater than 2, up to 9" in str(caught.value)


def test_a_loop_of_another_library_stops_where_its_resume_says(home: Home) -> None:
    loops.train(home)
    launch = home.order(home.node(2), {"stop_at": 5})
    model = loops.net()
    optimizer, loader = loops.sgd(model), loops.loader()
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny", model=model, optimizer=optimizer, data=loader, max_steps=9, seed=5, save_steps=1
        )
    tracked = run.track_loader(loader)
    with run:
        while not run.is_over:
            for batch in tracked:
                loops.loss_of(model, batch).backward()
                optimizer.step()
                optimizer.zero_grad()
                run.step()
    assert home.final(launch).state_digest == home.node(5).state_digest


@pytest.mark.parametrize("stop", [5, tiny.PER_EPOCH, 9])
def test_a_trainer_stops_in_the_bits_of_the_training_that_went_on(stop: int, home: Home) -> None:
    home.train(save_steps=1)
    launch = home.order(home.node(3), {"stop_at": stop, "save_steps": 1000})
    trainer = home.train(launch, save_steps=1)
    final = home.final(launch)
    assert trainer.state.global_step == stop and (final.step, final.kind) == (stop, "final")
    assert final.state_digest == home.node(stop).state_digest
    assert home.segment(launch.branch_id).status == "stopped"
    later = home.order(final)
    home.train(later, save_steps=1)
    assert home.final(later).state_digest == home.final().state_digest


def test_a_trainer_evaluates_where_it_stops_unless_it_has_done_so_itself(home: Home) -> None:
    home.train(save_steps=1)
    launch = home.order(home.node(3), {"stop_at": "+2"})
    home.train(launch, save_steps=1)
    assert list(home.points("eval_loss", launch.segment_id)) == [5]
    accepted = {"accept": "eval_dataset_length"}
    nothing = home.order(home.node(3), {"stop_at": "+2", **accepted})
    home.train(nothing, save_steps=1, evaluated=False)
    assert home.points("eval_loss", nothing.segment_id) == {}
    assert home.final(nothing).state_digest == home.final(launch).state_digest


@pytest.mark.parametrize(
    "how", [{"eval_strategy": "steps", "eval_steps": 3}, {"eval_strategy": "epoch"}]
)
def test_a_trainer_that_evaluates_where_it_stops_does_so_once(
    how: dict[str, Any], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.train(save_steps=1, **how)
    counts: list[int] = []
    monkeypatch.setattr(state, "evaluate", lambda trainer: counts.append(1) or {})
    launch = home.order(home.node(4), {"stop_at": tiny.PER_EPOCH})
    home.train(launch, save_steps=1, **how)
    assert not counts and list(home.points("eval_loss", launch.segment_id)) == [tiny.PER_EPOCH]
    assert home.final(launch).state_digest == home.node(tiny.PER_EPOCH).state_digest


def test_a_trainer_stops_by_the_settings_of_its_own_resume(home: Home) -> None:
    home.train(save_steps=1)
    trainer = home.run(
        tiny.trainer(tiny.BranchingTrainer, home.folder, save_steps=1),
        resume_from_node=home.node(3).id,
        set={"stop_at": "+2"},
        branch="short",
    )
    assert trainer.state.global_step == 5
    assert home.nodes("tiny/short")[-1].state_digest == home.node(5).state_digest


def test_a_trainer_with_the_weights_alone_stops_there_too(home: Home) -> None:
    home.train(save_steps=1)
    launch = home.order(home.node(3), {"stop_at": "+4"}, mode="weights")
    trainer = home.train(launch, save_steps=1)
    assert trainer.state.global_step == 7 and home.final(launch).kind == "final"


def test_a_stretch_up_to_a_stop_is_certified(home: Home) -> None:
    loops.train(home)
    launch = home.order(home.node(2), {"stop_at": 5})
    final = stopped(home, launch, {})
    certificate = home.rehearse(home.fork(launch), final, lambda **_: loops.train(home))
    assert certificate is not None and certificate.difference is None


def test_a_trainers_stretch_up_to_a_stop_is_certified(home: Home) -> None:
    home.train(save_steps=1)
    launch = home.order(home.node(3), {"stop_at": tiny.PER_EPOCH})
    home.train(launch, save_steps=1)
    certificate = home.rehearse(home.fork(launch), home.final(launch), save_steps=1)
    assert certificate is not None and certificate.difference is None
