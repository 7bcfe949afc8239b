"""A resume is called verified only if its first update is that of the node's own continuation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from branchtrack.errors import CheckpointMismatch
from tests.training import loops, tiny
from tests.training.homes import Home
from tests.training.session.test_session import asked

#: A training with nodes at steps 0, 3, 6 and 8.
SHORT: dict[str, Any] = {"max_steps": 8, "save_steps": 3}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one training, to be copied."""
    home = Home(tmp_path_factory.mktemp("template"))
    home.train(**SHORT)
    home.close()
    return home


@pytest.fixture
def trained(template: Home, tmp_path: Path) -> Iterator[Home]:
    """A home of the test's own with one training."""
    copied = template.copy(tmp_path)
    yield copied
    copied.close()


def ahead(home: Home, launch: Any = None, **given: Any) -> None:
    """A loop that fetches its next batch before the control point, into a variable."""
    import branchtrack

    model = loops.net()
    optimizer = loops.sgd(model)
    with loops.process(home, launch):
        run = branchtrack.start(
            "tiny", model=model, optimizer=optimizer, max_steps=6, save_steps=2, seed=5, **given
        )
    batch = torch.randn(4, 6), torch.zeros(4, dtype=torch.long)
    with run:
        while not run.step():
            loss = loops.loss_of(model, batch)
            batch = torch.randn(4, 6), torch.zeros(4, dtype=torch.long)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)


def compared(home: Home, launch: Any) -> dict[str, Any]:
    """What was found of a launch's first update."""
    found = home.fork(launch).compared
    assert found is not None
    return found


def test_every_node_that_was_trained_on_from_has_a_proof(trained: Home) -> None:
    *others, final = trained.nodes()
    assert final.proof is None and all(node.proof for node in others)
    steps = [node.proof["step"] for node in others if node.proof]
    assert steps == [node.step + 1 for node in others]


def test_an_exact_resume_is_equal_and_verified(trained: Home) -> None:
    launch = trained.resume(trained.node(6), **SHORT)
    found = compared(trained, launch)
    assert (found["state"], found["batch"], found["loss"]) == ("equal", "equal", "equal")
    fork = trained.fork(launch)
    assert fork.effective is not None and fork.effective["verified"] is True
    assert [one.state for one in trained.events("restore")] == ["equal"]
    assert fork.proof == trained.node(6).proof


def test_a_batch_that_was_fetched_ahead_is_found(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    ahead(home)
    launch = home.order(home.node(4))
    with caplog.at_level(logging.WARNING):
        ahead(home, launch)
    assert "does not continue as node" in caplog.text
    found = compared(home, launch)
    assert (found["state"], found["batch"], found["loss"]) == ("differs", "unknown", "differs")
    fork = home.fork(launch)
    assert fork.effective is not None and fork.effective["verified"] is False


def test_a_strict_resume_ends_where_it_differs(home: Home) -> None:
    ahead(home)
    launch = home.order(home.node(4), strict=True)
    with pytest.raises(CheckpointMismatch, match="differs from the node's own continuation"):
        ahead(home, launch)
    assert [node.step for node in home.nodes(launch.branch_id)] == [4]
    assert compared(home, launch)["state"] == "differs"


def test_nothing_is_claimed_where_nobody_trained_on(home: Home) -> None:
    loops.train(home, max_steps=4)
    launch = home.order(home.final(), {"max_steps": 6})
    loops.train(home, launch, max_steps=4)
    assert compared(home, launch)["state"] == "unknown"
    fork = home.fork(launch)
    assert fork.effective is not None and fork.effective["verified"] is None
    assert fork.effective["obeyed"] is True


def test_the_second_to_train_on_from_a_node_is_compared_with_the_first(home: Home) -> None:
    home.train(max_steps=4)
    last = home.final()
    settings = {"max_steps": 6, "horizon": "extend", "lr_scheduler_type": "constant"}
    first, second = (home.resume(last, dict(settings), max_steps=4) for _ in range(2))
    assert compared(home, first)["state"] == "unknown"
    # The first declared a change of its own, so that it is no proof of the node itself.
    assert home.final().proof is None and compared(home, second)["state"] == "unknown"
    again = home.order(home.fork(first), name="again")
    home.train(again, max_steps=4)
    assert compared(home, again)["state"] == "equal"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"lr": 0.5}, "equal"),
        ({"weight_decay": 0.1, "max_grad_norm": 0.1}, "equal"),
        ({"dropout": 0.5}, "explained"),
        ({"batch_size": 2}, "explained"),
    ],
)
def test_declared_changes_explain_what_they_affect(
    trained: Home, change: dict[str, Any], state: str
) -> None:
    launch = trained.resume(trained.node(6), change, **SHORT)
    assert compared(trained, launch)["state"] == state
    fork = trained.fork(launch)
    assert fork.effective is not None and fork.effective["verified"] is True


def test_other_data_under_the_same_name_are_found(trained: Home) -> None:
    launch = trained.resume(trained.node(6), data=tiny.Sentences(seed=1000), **SHORT)
    found = compared(trained, launch)
    assert (found["state"], found["batch"]) == ("differs", "differs")


def test_the_changed_run_is_what_an_intervention_is_compared_with(home: Home) -> None:
    asked(home, {3: lambda: home.ask("set", values={"dropout": 0.4})}, **SHORT)
    node = next(node for node in home.nodes() if node.kind == "intervention")
    launch = home.resume(node, **SHORT)
    assert compared(home, launch)["state"] == "equal"


def test_weights_alone_are_no_continuation(trained: Home) -> None:
    launch = trained.order(trained.node(6), mode="weights")
    trained.train(launch, **SHORT)
    assert compared(trained, launch)["state"] == "explained" and trained.fork(launch).proof is None
