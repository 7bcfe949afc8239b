"""The same command started again goes on in its branch where it is told to, and says so if not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import update
from transformers.trainer_utils import get_last_checkpoint

import branchtrack
from branchtrack import processes
from branchtrack.analysis import curves
from branchtrack.core import lifecycle
from branchtrack.core.records import Segment
from branchtrack.db import runs
from branchtrack.db.tables import runs as run_rows
from branchtrack.db.tables import segments as segment_rows
from branchtrack.environment_variables import CONTINUE_VARIABLE
from branchtrack.errors import BranchTaken, InvalidInput, LaunchFailed
from branchtrack.training.loop import run as loop_run
from branchtrack.training.loop.run import Run
from branchtrack.training.record import environment
from branchtrack.training.session import continuation, ordinals
from tests.training import loops, tiny
from tests.training.callbacks import Do
from tests.training.homes import Home

#: A process that ran on this machine and is gone.
GONE = f"{socket.gethostname()}:999999999:1"


def interrupted(home: Home, step: int, **how: Any) -> None:
    """Train until Ctrl-C comes in an update."""

    def at(run: Run, optimizer: Any) -> None:
        if run.update == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loops.train(home, at=at, save_steps=2, **how)


def lose(home: Home, name: str = "tiny/main", process: str = GONE, beat: float = -60.0) -> Segment:
    """Leave a branch as a process does that was killed, ``beat`` seconds from now."""
    values = {
        "status": "running",
        "ended_at": None,
        "error": None,
        "process": process,
        "heartbeat_at": time.time() + beat,
    }
    with home.database.transaction() as connection:
        connection.execute(
            update(segment_rows).where(segment_rows.c.id == home.segment(name).id).values(**values)
        )
    return home.segment(name)


def curve(home: Home, name: str = "tiny/main") -> list[int]:
    """The steps of a branch's curve."""
    with home.database.read() as connection:
        branch = runs.find_branch(connection, name)
        steps: list[int] = curves.branch_curve(connection, branch, "loss").series.steps.tolist()
    return steps


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a training that was interrupted at step 6, to be copied."""
    home = Home(tmp_path_factory.mktemp("template"))
    interrupted(home, 6)
    home.close()
    return home


@pytest.fixture
def stopped(template: Home, tmp_path: Path) -> Iterator[Home]:
    """A home of the test's own with a training that was interrupted at step 6."""
    copied = template.copy(tmp_path)
    yield copied
    copied.close()


@pytest.fixture
def goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTINUE_VARIABLE, "1")


@pytest.mark.usefixtures("goes_on")
def test_a_loop_that_was_killed_goes_on_in_its_branch_exactly(stopped: Home) -> None:
    whole = Home(stopped.folder / "whole")
    loops.train(whole, save_steps=2)
    lost = lose(stopped)
    loops.train(stopped, save_steps=2)
    assert [run.name for run in stopped.runs()] == ["tiny"]
    assert stopped.final().state_digest == whole.final().state_digest
    assert curve(stopped) == list(range(1, 10))
    kinds = [(node.step, node.kind) for node in stopped.nodes()]
    assert kinds == [
        (0, "root"),
        (2, "checkpoint"),
        (4, "checkpoint"),
        (4, "fork"),
        (6, "checkpoint"),
        (8, "checkpoint"),
        (9, "final"),
    ]
    fork = stopped.node(4, kind="fork")
    assert fork.restored is not None and fork.effective is not None and fork.effective["verified"]
    assert stopped.segment().position == 1 and stopped.segment().start_node_id == fork.parent_id
    # What was trained past the node stays as the lost tail, and the old segment is closed.
    assert stopped.points("loss", lost.id).keys() == {1, 2, 3, 4, 5, 6}
    assert stopped.chain_break() is None
    whole.close()


@pytest.mark.usefixtures("goes_on")
def test_it_may_be_killed_as_often_as_it_likes(home: Home) -> None:
    for step in (3, 5, 5):
        interrupted(home, step)
        lose(home)
    loops.train(home, save_steps=2)
    assert curve(home) == list(range(1, 10))
    assert len(home.runs()) == 1 and home.segment().status == "finished"


def test_the_command_itself_may_ask_for_it(stopped: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [*sys.argv, ordinals.CONTINUE_FLAG])
    monkeypatch.setattr(sys, "orig_argv", [*sys.orig_argv, ordinals.CONTINUE_FLAG])
    loops.train(stopped, save_steps=2)
    assert [run.name for run in stopped.runs()] == ["tiny"] and curve(stopped) == list(range(1, 10))


def test_latest_is_asked_for_in_the_script(stopped: Home) -> None:
    loops.train(stopped, save_steps=2, resume="latest")
    assert [run.name for run in stopped.runs()] == ["tiny"] and curve(stopped) == list(range(1, 10))


def test_other_arguments_of_the_script_are_no_hindrance_where_it_asks_itself(
    stopped: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordinals.sys, "orig_argv", [*ordinals.sys.orig_argv, "--resume"])
    loops.train(stopped, save_steps=2, resume="latest")
    assert [run.name for run in stopped.runs()] == ["tiny"]


@pytest.mark.usefixtures("goes_on")
def test_a_training_that_has_nothing_to_go_on_with_begins(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    loops.train(home, max_steps=2)
    assert home.segment().status == "finished" and "a new run begins" in caplog.text


@pytest.mark.usefixtures("goes_on")
def test_a_finished_run_is_said_and_not_trained_again(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    run = loops.train(home, max_steps=2)
    before = {name: value.clone() for name, value in run._live.model.state_dict().items()}
    updates: list[int] = []
    again = loops.train(home, max_steps=2, at=lambda run, _: updates.append(run.update))
    assert updates == [] and again.is_over and len(home.runs()) == 1
    assert tiny.same(before, again._live.model.state_dict())
    assert "is finished, and is not trained again" in caplog.text


@pytest.mark.usefixtures("goes_on")
def test_a_finished_run_that_the_script_does_not_fit_any_more_is_refused(home: Home) -> None:
    loops.train(home, max_steps=2)
    with pytest.raises(LaunchFailed, match="finished, and the script cannot continue") as refusal:
        loops.train(home, max_steps=2, model=lambda: torch.nn.Linear(6, 2))
    assert "without BRANCHTRACK_CONTINUE" in refusal.value.fix
    assert len(home.runs()) == 1


def test_without_a_word_a_new_run_begins_and_says_how_to_go_on(
    stopped: Home, caplog: pytest.LogCaptureFixture
) -> None:
    loops.train(stopped)
    (line,) = [record.message for record in caplog.records if "unfinished" in record.message]
    node = stopped.nodes()[-1]
    assert f"tiny/main (stopped, node {node.id} at step 4 of 9)" in line
    assert "BRANCHTRACK_CONTINUE=tiny python" in line
    assert {run.name for run in stopped.runs()} == {"tiny", "tiny-2"}


def test_nothing_is_said_of_a_run_that_is_finished_or_lives(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    loops.train(home, max_steps=2)
    loops.train(home, max_steps=2)
    lose(home, "tiny-2/main", process="elsewhere:1:1", beat=0.0)
    loops.train(home, max_steps=2)
    assert "unfinished" not in caplog.text


@pytest.mark.usefixtures("goes_on")
def test_a_process_that_still_trains_it_is_named_and_nothing_begins(stopped: Home) -> None:
    lose(stopped, process=processes.own_name(), beat=0.0)
    with pytest.raises(BranchTaken, match=r"is being trained by process \d+"):
        loops.train(stopped)
    assert len(stopped.runs()) == 1


@pytest.mark.usefixtures("goes_on")
def test_a_process_of_another_machine_is_gone_once_it_is_silent(
    stopped: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LOST_AFTER", 0.6)
    lose(stopped, process="elsewhere:1:1", beat=0.0)
    loops.train(stopped, save_steps=2)
    assert curve(stopped) == list(range(1, 10))


@pytest.mark.usefixtures("goes_on")
def test_a_process_of_another_machine_that_answers_meanwhile_lives(
    stopped: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(stopped, process="elsewhere:1:1", beat=-1.0)
    monkeypatch.setattr(
        continuation.time, "sleep", lambda _: lose(stopped, process="elsewhere:1:1", beat=0.0)
    )
    with pytest.raises(BranchTaken):
        loops.train(stopped)


@pytest.mark.usefixtures("goes_on")
def test_of_two_that_go_on_at_once_one_alone_does(stopped: Home) -> None:
    begun: list[Run] = []
    refused: list[Exception] = []
    first = _opened(stopped)
    second = _opened(stopped)
    for beginning in (first, second):
        try:
            begun.append(beginning())
        except BranchTaken as error:
            refused.append(error)
    assert len(begun) == 1 and len(refused) == 1
    assert "Nothing was changed" in str(refused[0])
    assert [node.kind for node in stopped.nodes()].count("fork") == 1
    begun[0].finish()


def _opened(home: Home) -> Any:
    """A loop that has looked at what there is, and has not begun."""
    model = loops.net()
    with loops.process(home):
        session = loop_run.open_session("tiny", None)
    requested = {"max_steps": 9, "save_steps": 2, "seed": 5}
    live = loop_run.loop_objects.live_objects(model, loops.sgd(model), None, {})
    return lambda: Run(live, session, loops.loader(), {}, None, requested)


@pytest.mark.usefixtures("goes_on")
def test_the_branch_that_its_process_was_rewound_to_goes_on(stopped: Home) -> None:
    lost = lose(stopped)
    launch = stopped.order(stopped.node(2), name="other")

    def at(run: Run, optimizer: Any) -> None:
        if run.update == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loops.train(stopped, launch, at=at, save_steps=2)
    with stopped.database.transaction() as connection:
        # As it is where the process of the first segment has begun anew.
        connection.execute(update(segment_rows).values(process=lost.process))
    loops.train(stopped, save_steps=2)
    assert stopped.nodes("tiny/other")[-1].kind == "final"
    assert curve(stopped, "tiny/other") == list(range(1, 10))
    assert stopped.nodes()[-1].step == 4


@pytest.mark.usefixtures("goes_on")
def test_folds_that_are_finished_are_passed_over_and_the_next_one_goes_on(home: Home) -> None:
    with pytest.raises(KeyboardInterrupt):
        loops.train_folds(home, 3, 3)
    assert loops.train_folds(home, 3) == [1, 1, 2, 2, 2, 2]
    trainings = {run.name: run.training for run in home.runs()}
    assert sorted(trainings) == ["fold0", "fold1", "fold2"]
    # A launch finds them as those of one script, though two processes made them.
    assert len({training["process"] for training in trainings.values()}) == 1


def test_a_name_that_had_to_be_changed_is_said_and_kept(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        model = loops.net()
        with loops.process(home):
            run = branchtrack.start("exp/a b", model=model, optimizer=loops.sgd(model), max_steps=1)
        run.finish()
    said = [record.message for record in caplog.records if "is recorded as" in record.message]
    assert len(said) == 2 and "'exp/a b' is recorded as run exp-a-b (a name has" in said[0]
    assert "run exp-a-b-2" in said[1] and "exp-a-b is taken" in said[1]
    renamed = home.find_run("exp-a-b-2")
    assert renamed.training["name"] == "exp/a b"
    assert home.events("run", renamed.name)[0].payload == {"asked": "exp/a b"}


def test_a_name_that_is_kept_is_not_worth_a_word(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    loops.train(home, max_steps=2)
    assert home.events("run")[0].payload == {} and "recorded as" not in caplog.text


#: A Trainer's training with nodes at steps 0, 4 and 8.
SHORT: dict[str, Any] = {"max_steps": 8, "save_steps": 4}


def killed_trainer(home: Home, step: int = 6, **how: Any) -> None:
    """A Trainer's training until Ctrl-C comes in an update."""

    def stop(**_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        home.train(callbacks=lambda: [Do("on_step_end", step, stop)], **{**SHORT, **how})


def test_a_trainer_goes_on_from_its_newest_node_with_true(home: Home) -> None:
    whole = Home(home.folder / "whole")
    whole.train(**SHORT)
    killed_trainer(home)
    home.run(tiny.trainer(tiny.BranchingTrainer, home.folder, **SHORT), resume_from_checkpoint=True)
    assert len(home.runs()) == 1 and curve(home) == list(range(1, 9))
    assert home.final().state_digest == whole.final().state_digest
    whole.close()


def test_true_begins_where_there_is_nothing_and_is_over_where_all_is_done(home: Home) -> None:
    for _ in range(2):
        run = home.run(
            tiny.trainer(tiny.BranchingTrainer, home.folder, **SHORT), resume_from_checkpoint=True
        )
        assert run.state.global_step == 8
    assert len(home.runs()) == 1 and len(home.nodes()) == 3


def test_the_newest_checkpoint_of_the_output_folder_means_the_same(home: Home) -> None:
    how = {
        **SHORT,
        "load_best_model_at_end": True,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "metric_for_best_model": "loss",
    }
    killed_trainer(home, **how)
    last = get_last_checkpoint(str(home.folder / "output"))
    assert last is not None
    home.run(tiny.trainer(tiny.BranchingTrainer, home.folder, **how), resume_from_checkpoint=last)
    assert len(home.runs()) == 1 and curve(home) == list(range(1, 9))


def test_a_trainer_with_another_output_folder_does_not_go_on(home: Home, tmp_path: Path) -> None:
    killed_trainer(home)
    with home.database.transaction() as connection:
        connection.execute(update(run_rows).values(command=None))
    folder = str(tmp_path / "other")
    other = tiny.trainer(tiny.BranchingTrainer, home.folder, output_dir=folder, **SHORT)
    home.run(other, resume_from_checkpoint=True)
    assert len(home.runs()) == 2


def test_a_notebook_goes_on_with_the_newest_run_of_that_name(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(environment.sys, "argv", [""])
    interrupted(home, 6)
    interrupted(home, 4)
    assert f'resume="{home.nodes()[-1].id}"' in caplog.text
    loops.train(home, save_steps=2, resume="latest")
    assert {run.name for run in home.runs()} == {"tiny", "tiny-2"}
    assert home.nodes("tiny-2/main")[-1].kind == "final"


@pytest.mark.parametrize("arguments", [{"set": {"lr": 1.0}}, {"branch": "b"}, {"mode": "weights"}])
def test_changes_need_a_node_to_go_on_from(arguments: dict[str, Any], home: Home) -> None:
    model = torch.nn.Linear(2, 2)
    for resume in (None, "latest"):
        with loops.process(home), pytest.raises(InvalidInput, match="together with resume=NODE"):
            branchtrack.start(
                "a", model=model, optimizer=loops.sgd(model), resume=resume, **arguments
            )
    assert home.runs() == []


SCRIPT = """
    import os, time, torch, branchtrack
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    run = branchtrack.start("deep", model=model, optimizer=optimizer, max_steps=40, save_steps=5,
                            seed=1)
    with run:
        while not run.step():
            optimizer.zero_grad()
            loss = model(torch.randn(8, 3)).square().mean()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
            time.sleep(float(os.environ.get("SLOW", 0)))
    """


@pytest.mark.exhaustive
def test_the_queue_starts_a_killed_command_again_twice_and_one_process_goes_on(home: Home) -> None:
    script = home.folder / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    root = str(Path(__file__).parent.parent.parent)
    plain = {**os.environ, **home.config.environment(), "PYTHONPATH": root}

    def started(**more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script)], env={**plain, **more}, text=True, stderr=subprocess.PIPE
        )

    with started(SLOW="0.1") as first:
        deadline = time.monotonic() + 90
        while not home.runs() or not any(node.step == 10 for node in home.nodes("deep/main")):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        first.kill()
    both = [started(BRANCHTRACK_CONTINUE="1", SLOW="0.05") for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    codes = [process.returncode for process in both]
    refused = said[codes.index(1)]
    assert sorted(codes) == [0, 1] and "is being trained by process" in refused
    assert [run.name for run in home.runs()] == ["deep"]
    assert curve(home, "deep/main") == list(range(1, 41))
    assert home.segment("deep/main").status == "finished" and home.chain_break("deep") is None


@pytest.mark.usefixtures("goes_on")
def test_a_fold_that_somebody_stopped_was_done_with_once_the_next_had_begun(home: Home) -> None:
    def folds(stop: int | None) -> list[int]:
        trained: list[int] = []
        with loops.process(home):
            for fold in range(2):
                model = loops.net()
                optimizer = loops.sgd(model)
                with branchtrack.start(
                    f"fold{fold}",
                    model=model,
                    optimizer=optimizer,
                    seed=1,
                    data=loops.loader(),
                    max_steps=4,
                    save_steps=2,
                ) as run:
                    for batch in run.batches():
                        loops.loss_of(model, batch).backward()
                        optimizer.step()
                        trained.append(fold)
                        if fold == 1 and run.update == stop:
                            raise KeyboardInterrupt
                        # As a request to stop does.
                        run._session._control.stop_asked = fold == 0 and run.update == 2
                        if run.step():
                            break
        return trained

    with pytest.raises(KeyboardInterrupt):
        folds(3)
    assert home.segment("fold0/main").status == "stopped"
    assert folds(None) == [1, 1]
