"""Of a script with several trainings a launch goes on with its own, and leaves the others alone."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Subset
from transformers import set_seed

import branchtrack
from branchtrack.core.records import Launch, Node
from branchtrack.errors import LaunchFailed
from branchtrack.training.state import snapshots
from tests.matrices import some
from tests.training import loops, tiny
from tests.training.homes import Home

#: What a script has after each of its trainings: the weights, and the next random number.
Seen = list[tuple[dict[str, torch.Tensor], float]]
ROWS = loops.Points()


def after(model: torch.nn.Module) -> tuple[dict[str, torch.Tensor], float]:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return weights, float(torch.rand(()))


def folds(seen: Seen, *, names: Callable[[int], str] = "fold{}".format, own: bool = False) -> None:
    """Three folds, one after the other: nothing is seeded between them."""
    torch.manual_seed(3)
    for fold in range(3):
        model = torch.nn.Sequential(
            torch.nn.Linear(6, 4), torch.nn.Dropout(), torch.nn.Linear(4, 2)
        )
        optimizer = loops.sgd(model)
        rows = [number for number in range(24) if number % 3 != fold]
        data = DataLoader(Subset(ROWS, rows), 4, shuffle=True)
        run = branchtrack.start(
            names(fold),
            model=model,
            optimizer=optimizer,
            data=None if own else data,
            max_steps=6,
            save_steps=2,
        )
        with run:
            while not run.is_over:
                for batch in data if own else run.batches():
                    loss = loops.loss_of(model, batch)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    run.log(loss=loss)
                    if run.step():
                        break
                if own and run.step_number == 0:
                    break
        seen.append(after(model))


def same(
    a: tuple[dict[str, torch.Tensor], float], b: tuple[dict[str, torch.Tensor], float]
) -> bool:
    return a[1] == b[1] and tiny.same(a[0], b[0])


def script(
    home: Home, train: Callable[..., None], launch: Launch | None = None, **how: Any
) -> Seen:
    """What a script has seen that was started anew."""
    seen: Seen = []
    with loops.process(home, launch):
        train(seen, **how)
    return seen


def at(home: Home, step: int, run: str) -> Node:
    return home.node(step, f"{run}/main")


@pytest.fixture(scope="module")
def first_folds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Seen]:
    """A home in which three folds were trained, to be copied, and what their script saw."""
    home = Home(tmp_path_factory.mktemp("folds"))
    seen = script(home, folds)
    home.close()
    return home, seen


@pytest.fixture
def folded(first_folds: tuple[Home, Seen], tmp_path: Path) -> Iterator[Home]:
    """A home of the test's own in which three folds were trained."""
    copied = first_folds[0].copy(tmp_path)
    yield copied
    copied.close()


def goes_on_alone(
    home: Home, fold: int, runs: list[str], first: Seen, names: Callable[[int], str]
) -> None:
    """That one of three folds goes on, and that the script sees what it saw up to its end."""
    launch = home.order(at(home, 4, runs[fold]))
    again = script(home, folds, launch, names=names)
    assert home.final(launch).state_digest == at(home, 6, runs[fold]).state_digest
    assert home.points("loss", launch.segment_id).keys() == {5, 6}
    alike = [same(a, b) for a, b in zip(first, again, strict=True)]
    assert alike[: fold + 1] == [True] * (fold + 1)
    assert sorted(one.name for one in home.runs()) == runs


@pytest.mark.parametrize("fold", range(3))
def test_each_fold_goes_on_alone_and_the_script_sees_what_it_saw(
    fold: int, folded: Home, first_folds: tuple[Home, Seen]
) -> None:
    goes_on_alone(folded, fold, ["fold0", "fold1", "fold2"], first_folds[1], "fold{}".format)


@pytest.mark.parametrize("fold", some(range(3), 1))
def test_of_folds_with_one_name_each_goes_on_alone(fold: int, home: Home) -> None:
    first = script(home, folds, names=lambda _: "sweep")
    goes_on_alone(home, fold, ["sweep", "sweep-2", "sweep-3"], first, lambda _: "sweep")


def test_a_name_that_is_another_each_time_is_told_by_its_number(home: Home) -> None:
    script(home, folds, names=lambda fold: f"run-{fold}-monday")
    launch = home.order(at(home, 4, "run-1-monday"))
    script(home, folds, launch, names=lambda fold: f"run-{fold}-tuesday")
    assert home.final(launch).state_digest == at(home, 6, "run-1-monday").state_digest
    assert len(home.runs()) == 3


def test_folds_that_a_script_leaves_out_the_second_time_do_not_change_which_is_meant(
    folded: Home,
) -> None:
    launch = folded.order(at(folded, 4, "fold1"))

    def rest(seen: Seen) -> None:
        # The first fold's results lie in a file, for instance.
        torch.manual_seed(3)
        model = torch.nn.Sequential(
            torch.nn.Linear(6, 4), torch.nn.Dropout(), torch.nn.Linear(4, 2)
        )
        data = DataLoader(Subset(ROWS, [n for n in range(24) if n % 3 != 1]), 4, shuffle=True)
        optimizer = loops.sgd(model)
        with branchtrack.start(
            "fold1", model=model, optimizer=optimizer, data=data, max_steps=6, save_steps=2
        ) as run:
            for batch in run.batches():
                loss = loops.loss_of(model, batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss)
                run.step()

    script(folded, rest, launch)
    assert folded.final(launch).state_digest == at(folded, 6, "fold1").state_digest


def test_a_loop_that_steps_before_it_asks_has_its_final_state_all_the_same(home: Home) -> None:
    first = script(home, folds, own=True)
    launch = home.order(at(home, 4, "fold2"))
    again = script(home, folds, launch, own=True)
    assert tiny.same(first[0][0], again[0][0]) and first[0][1] == again[0][1]
    assert tiny.same(first[1][0], again[1][0])


def test_what_was_logged_before_is_not_logged_again(folded: Home) -> None:
    before = [len(folded.events("node", run)) for run in ("fold0", "fold1")]
    launch = folded.order(at(folded, 4, "fold2"))
    script(folded, folds, launch)
    assert [len(folded.events("node", run)) for run in ("fold0", "fold1")] == before
    assert [folded.segment(f"{run}/main").status for run in ("fold0", "fold1")] == ["finished"] * 2


def test_without_a_final_node_of_what_comes_before_a_resume_is_refused_with_a_way_out(
    home: Home,
) -> None:
    def broken(seen: Seen) -> None:
        try:
            model = torch.nn.Linear(6, 2)
            with branchtrack.start("first", model=model, optimizer=loops.sgd(model), max_steps=3):
                raise ValueError("no luck")
        except ValueError:
            pass
        folds(seen)

    script(home, broken)
    launch = home.order(at(home, 4, "fold0"))
    with pytest.raises(LaunchFailed, match=r"no final node(.|\n)*--script PATH"):
        script(home, broken, launch)
    # The way out: a script that makes that training alone.
    script(home, folds, launch)
    assert home.final(launch).state_digest == at(home, 6, "fold0").state_digest


def test_what_comes_before_and_does_not_fit_any_more_is_refused(folded: Home) -> None:
    launch = folded.order(at(folded, 4, "fold1"))

    def edited(seen: Seen) -> None:
        model = torch.nn.Linear(6, 3)
        branchtrack.start("fold0", model=model, optimizer=loops.sgd(model), max_steps=6)

    way = f"`branchtrack resume {launch.node_id} --script PATH`"
    with pytest.raises(LaunchFailed, match="cannot be passed over") as refusal:
        script(folded, edited, launch)
    assert way in refusal.value.fix


def test_a_fold_is_certified_like_any_other_run(folded: Home) -> None:
    found = folded.rehearse(
        at(folded, 2, "fold1"), at(folded, 6, "fold1"), lambda: script(folded, folds)
    )
    assert found is not None and found.exact


def trainers(seen: Seen, folder: Any, kind: type[Any] = tiny.BranchingTrainer) -> None:
    """A phase, a second one that trains on what the first has made, and the first trainer again."""
    set_seed(4)
    first = tiny.trainer(kind, folder, run_name="phase", max_steps=4)
    output = first.train()
    seen.append(after(first.model))
    second = tiny.trainer(kind, folder, run_name="phase-two", max_steps=4, learning_rate=1e-2)
    second.model.load_state_dict(first.model.state_dict())
    second.train()
    seen.append(after(second.model))
    first.train()
    seen.append(after(first.model))
    seen.append(({"loss": torch.tensor(output.training_loss)}, float(first.state.global_step)))


@pytest.fixture(scope="module")
def first_phases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Seen]:
    """A home in which three trainers trained, to be copied, and what their script saw."""
    home = Home(tmp_path_factory.mktemp("phases"))
    seen = script(home, trainers, folder=home.folder)
    home.close()
    return home, seen


@pytest.mark.parametrize("run", ["phase", "phase-two", "phase-2"])
def test_a_trainer_that_is_passed_over_has_what_it_had(
    run: str, first_phases: tuple[Home, Seen], tmp_path: Path
) -> None:
    home, first = first_phases[0].copy(tmp_path), first_phases[1]
    launch = home.order(at(home, 2, run))
    again = script(home, trainers, launch, folder=home.folder)
    assert home.final(launch).state_digest == home.final_of(run).state_digest
    count = ["phase", "phase-two", "phase-2"].index(run) + 1
    assert all(same(a, b) for a, b in zip(first[:count], again[:count], strict=True))
    if run != "phase":
        assert again[3][0]["loss"] == first[3][0]["loss"] and again[3][1] == 4.0
    assert len(home.runs()) == 3
    home.close()


def test_a_trainer_that_ends_with_its_best_model_is_given_that(home: Home) -> None:
    how = {
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_steps": 2,
        "max_steps": 8,
        "learning_rate": 0.3,
        "lr_scheduler_type": "constant",
    }

    def phases(seen: Seen) -> None:
        for name in ("best", "rest"):
            made = tiny.trainer(tiny.BranchingTrainer, home.folder, run_name=name, **how)
            made.train()
            seen.append(after(made.model))

    first = script(home, phases)
    loop = snapshots.loop_state(home.snapshot(home.final_of("best")))
    assert loop["trainer"]["best_global_step"] not in (None, 8)
    shutil.rmtree(home.folder / "output")
    launch = home.order(at(home, 4, "rest"))
    again = script(home, phases, launch)
    assert same(first[0], again[0])


def test_a_training_that_is_passed_over_leaves_signals_to_the_process(folded: Home) -> None:
    launch = folded.order(at(folded, 4, "fold1"))
    before = signal.getsignal(signal.SIGTERM)
    script(folded, folds, launch)
    assert signal.getsignal(signal.SIGTERM) is before
