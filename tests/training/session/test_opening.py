"""A node is gone on from within the process that asks: in a notebook, a prompt, a script."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select

import branchtrack
from branchtrack import control
from branchtrack.control import local_actor
from branchtrack.db import audit, tables
from branchtrack.db.orders import launches
from branchtrack.db.tables import nodes
from branchtrack.errors import (
    CheckpointMismatch,
    InvalidInput,
    LaunchFailed,
    NameTaken,
    NotFound,
    RecordChanged,
)
from branchtrack.training.loop.run import Run
from branchtrack.training.record import environment
from tests.training import loops, tiny
from tests.training.homes import Home

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a loop that has ended, to be copied."""
    home = Home(tmp_path_factory.mktemp("template"))
    loops.train(home, save_steps=2)
    home.close()
    return home


@pytest.fixture
def trained(template: Home, tmp_path: Path) -> Iterator[Home]:
    """A home of the test's own with a loop that has ended."""
    copied = template.copy(tmp_path)
    yield copied
    copied.close()


def launches_of(home: Home) -> list[Any]:
    with home.database.read() as connection:
        branches = [home.branch(f"tiny/{name}") for name in ("b", "c")]
        ids = [branch.id for branch in branches]
        query = select(tables.launches).where(tables.launches.c.branch_id.in_(ids))
        return list(connection.execute(query.order_by(tables.launches.c.seq)))


def test_a_loop_goes_on_from_a_node_as_a_new_branch(trained: Home) -> None:
    loops.train(trained, save_steps=2, resume=trained.node(4).id[:6], branch="b")
    loops.train(trained, save_steps=2, resume=trained.node(4).id, set={"lr": 0.02}, branch="c")
    same, other = trained.nodes("tiny/b"), trained.nodes("tiny/c")
    assert same[-1].state_digest == trained.final().state_digest != other[-1].state_digest
    assert other[0].kind == "fork" and other[0].settings["lr"] == 0.02
    assert other[0].effective is not None and other[0].effective["verified"] is True
    assert [one.state for one in launches_of(trained)] == ["ended", "ended"]
    assert len(trained.runs()) == 1 and trained.chain_break() is None
    with trained.database.read() as connection:
        assert launches.unfinished(connection) == []


def test_a_node_whose_record_was_changed_is_not_gone_on_from(trained: Home) -> None:
    node = trained.node(4)
    with trained.database.transaction() as connection:
        connection.execute(nodes.update().where(nodes.c.id == node.id).values(message="another"))
    with pytest.raises(RecordChanged, match="not as it was written"):
        loops.train(trained, save_steps=2, resume=node.id)


def test_a_branch_is_named_for_its_parent_where_no_name_is_given(trained: Home) -> None:
    loops.train(trained, save_steps=2, resume=trained.node(2).id)
    assert trained.nodes("tiny/main-2")[-1].state_digest == trained.final().state_digest


def test_the_head_of_a_branch_is_named_by_the_branch(home: Home) -> None:
    def at(run: Run, optimizer: Any) -> None:
        if run.update == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loops.train(home, save_steps=2, at=at)
    loops.train(home, save_steps=2, resume="tiny/main", branch="b")
    assert [one.step for one in home.nodes("tiny/b")] == [4, 6, 8, 9]


def test_the_weights_alone_are_taken_where_that_is_asked_for(trained: Home) -> None:
    loops.train(
        trained, save_steps=2, resume=trained.node(4).id, mode="weights", branch="b", max_steps=3
    )
    fork = trained.nodes("tiny/b")[0]
    assert fork.restored is not None and fork.restored["optimizer"] == "reset"
    assert trained.nodes("tiny/b")[-1].step == 7


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"set": {"lr": -1.0}}, InvalidInput),
        ({"set": {"nothing": 1}}, InvalidInput),
        ({"mode": "some"}, InvalidInput),
        ({"branch": "main"}, NameTaken),
        ({"branch": "no name"}, InvalidInput),
        ({"resume": "beef00"}, NotFound),
        ({"resume": 3}, InvalidInput),
        ({"set": {"max_steps": 2}}, InvalidInput),
        ({"model": lambda: loops.net(0.5)}, CheckpointMismatch),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    how: dict[str, Any], error: type[Exception], trained: Home
) -> None:
    before = trained.events("node"), trained.events("launch"), trained.nodes()
    with pytest.raises(error):
        loops.train(trained, **{"resume": trained.node(4).id, **how})
    assert (trained.events("node"), trained.events("launch"), trained.nodes()) == before
    with trained.database.read() as connection:
        assert audit.first_broken_seq(connection, trained.find_run().id) is None


def test_where_training_has_ended_nothing_is_left_to_do(trained: Home) -> None:
    with pytest.raises(InvalidInput, match="nothing is left to do"):
        loops.train(trained, resume=trained.final().id)


def test_a_training_that_goes_wrong_later_is_a_branch_that_failed(trained: Home) -> None:

    def at(run: Run, optimizer: Any) -> None:
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        loops.train(trained, save_steps=2, resume=trained.node(4).id, branch="b", at=at)
    assert trained.segment("tiny/b").status == "failed"
    with trained.database.read() as connection:
        launch = launches.of_branch(connection, trained.branch("tiny/b").id)
    assert launch is not None and launch.state == "failed" and "no luck" in (launch.error or "")
    assert launch.actor == f"run ({local_actor()})"


def test_a_trainer_goes_on_from_a_node_too(home: Home) -> None:
    short = {"max_steps": 7, "save_steps": 4}
    home.train(**short)
    made = tiny.trainer(tiny.BranchingTrainer, home.folder, **short)
    home.run(made, resume_from_node=home.node(4).id, branch="b")
    assert home.nodes("tiny/b")[-1].state_digest == home.final().state_digest
    other = tiny.trainer(tiny.BranchingTrainer, home.folder, **short)
    home.run(other, resume_from_node=home.node(4).id, set={"lr": 1e-4}, branch="c")
    assert home.nodes("tiny/c")[0].settings["lr"] == 1e-4
    with pytest.raises(InvalidInput, match="both|Both"):
        home.run(other, resume_from_node=home.node(4).id, resume_from_checkpoint=True)


def test_a_run_without_a_command_names_the_way_that_works(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.sys, "argv", ["-"])
    loops.train(home, save_steps=2)
    node = home.node(4)
    with pytest.raises(LaunchFailed) as refusal:
        home.order(node)
    assert f'branchtrack.start(..., resume="{node.id}", set={{...}})' in refusal.value.fix
    assert f'trainer.train(resume_from_node="{node.id}", set={{...}})' in refusal.value.fix
    assert f"branchtrack resume {node.id} --script PATH" in refusal.value.fix
    loops.train(home, save_steps=2, resume=node.id, set={"lr": 0.02}, branch="b")
    assert home.nodes("tiny/b")[-1].kind == "final"


SCRIPT = """
    import torch, branchtrack
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    run = branchtrack.start("in", model=model, optimizer=optimizer, max_steps=4, save_steps=2,
                            seed=1, {more})
    with run:
        while not run.step():
            optimizer.zero_grad()
            model(torch.randn(3, 2)).square().mean().backward()
            optimizer.step()
    """


@pytest.mark.exhaustive
def test_a_script_from_standard_input_goes_on_in_the_same_way(home: Home) -> None:
    def feed(more: str) -> None:
        text = textwrap.dedent(SCRIPT.replace("{more}", more))
        subprocess.run(
            [sys.executable, "-"],
            input=text,
            text=True,
            check=True,
            timeout=120,
            env={**os.environ, **home.config.environment(), "PYTHONPATH": str(ROOT)},
        )

    feed("")
    node = home.node(2, "in/main")
    assert control.describe_missing(home.find_run("in").entry_point)
    feed(f'resume="{node.id}", branch="again"')
    assert home.nodes("in/again")[-1].state_digest == home.final_of("in").state_digest


def test_a_model_of_its_own_can_be_given_by_a_script_that_was_never_the_run_s(
    trained: Home,
) -> None:
    model = loops.net()
    optimizer = loops.sgd(model)
    with loops.process(trained):
        run = branchtrack.start(
            "whatever",
            model=model,
            optimizer=optimizer,
            data=loops.loader(),
            seed=5,
            max_steps=9,
            save_steps=2,
            resume=trained.node(4).id,
            branch="b",
        )
    assert run.step_number == 4 and isinstance(model, torch.nn.Module)
    run.finish()
    assert [one.name for one in trained.runs()] == ["tiny"]
