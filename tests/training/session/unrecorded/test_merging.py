"""A merge is evaluated and committed where a training would begin, and can be trained from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest import mock

import pytest
import torch

from branchtrack import control
from branchtrack.checkpoints.export import export
from branchtrack.core.forks.merges import Merge
from branchtrack.core.names import new_id
from branchtrack.core.records import Node
from branchtrack.db import audit, integrity, nodes, runs
from branchtrack.db.deletion import trash
from branchtrack.environment_variables import MERGE_VARIABLE
from branchtrack.errors import NeverWhole, NotFound
from branchtrack.launching.export_completion import complete
from branchtrack.retention import policies
from branchtrack.retention.sweeps import Sweep
from branchtrack.training.record import commits
from branchtrack.training.session.unrecorded import merging
from tests.training import loops, tiny
from tests.training.homes import Home

Train = Callable[..., Any]


def merged(
    home: Home,
    a: Node,
    b: Node,
    train: Train,
    weights: tuple[float, float] = (0.5, 0.5),
    **order: Any,
) -> Node | None:
    """The node that the process of a merge commits, if it does."""
    text = Merge(new_id(), a.id, b.id, weights, "ann", **order).to_text()
    with (
        mock.patch.dict(os.environ, {MERGE_VARIABLE: text}),
        mock.patch.object(merging, "leave", sys.exit),
        suppress(SystemExit),
    ):
        train()
    with home.database.read() as connection:
        try:
            head = runs.get_branch(connection, Merge.from_text(text).branch).head_id
        except NotFound:
            return None
        return nodes.get(connection, head or "")


def weights_of(home: Home, node: Node) -> dict[str, torch.Tensor]:
    with home.database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest, need="weights")
    tensors = commits.load(home.store, stored, node).tensors
    return {name: value for name, value in tensors.items() if name.startswith("model/")}


def loop(home: Home, **how: Any) -> Train:
    return lambda: loops.train(home, **how)


@pytest.fixture
def parents(home: Home) -> tuple[Node, Node]:
    """Two nodes of a plain loop, the second on a branch of its own."""
    loops.train(home, max_steps=4, save_steps=2)
    launch = home.order(home.node(2), {"lr": 0.01}, name="cooler")
    loops.train(home, launch, max_steps=4, save_steps=2)
    return home.final(), home.final(launch)


def test_a_merge_holds_the_average_bit_for_bit(home: Home, parents: tuple[Node, Node]) -> None:
    a, b = parents
    node = merged(home, a, b, loop(home), (0.25, 0.75), message="why", name="soup")
    assert node is not None and node.kind == "merge" and node.message == "why"
    assert (node.parent_id, node.merge_parent_id) == (a.id, b.id)
    assert (node.step, node.epoch, node.settings) == (a.step, a.epoch, a.settings)
    of_a, of_b, of_node = (weights_of(home, each) for each in (a, b, node))
    assert of_node.keys() == of_a.keys()
    for name, value in of_node.items():
        average = 0.25 * of_a[name].double() + 0.75 * of_b[name].double()
        expected = average.to(value.dtype) if value.is_floating_point() else of_a[name]
        assert torch.equal(value, expected), name
    assert not torch.equal(of_node["model/0.weight"], of_a["model/0.weight"])
    segment = home.segment("tiny/soup")
    assert (segment.status, segment.start_node_id, segment.step) == ("finished", a.id, 4)
    assert segment.script and segment.declared and segment.code


def test_it_is_evaluated_and_its_points_are_logged(home: Home, parents: tuple[Node, Node]) -> None:
    node = merged(home, *parents, loop(home))
    assert node is not None and node.metrics.keys() == {"eval_loss"}
    assert home.branch("tiny/merge-1").head_id == node.id
    logged = home.points("eval_loss", home.segment("tiny/merge-1").id)
    assert logged == {4: node.metrics["eval_loss"]}
    assert node.restored is not None and node.restored["optimizer"] == "reset"
    assert node.restored["weights"] == f"0.5 of node {parents[0].id} + 0.5 of node {parents[1].id}"


def test_without_an_evaluation_it_is_made_all_the_same(
    home: Home, parents: tuple[Node, Node]
) -> None:
    node = merged(home, *parents, loop(home, evaluate=None))
    assert node is not None and node.metrics == {}
    assert home.segment("tiny/merge-1").offers["evaluates"] is False


def test_the_record_holds_after_a_merge(home: Home, parents: tuple[Node, Node]) -> None:
    node = merged(home, *parents, loop(home))
    assert node is not None
    control.verify_node(home.database, home.store, node, need="weights")
    with home.database.read() as connection:
        assert integrity.of_database(connection) == []
        assert audit.first_broken_seq(connection, node.run_id) is None


def test_it_has_no_more_than_weights_and_says_so(home: Home, parents: tuple[Node, Node]) -> None:
    node = merged(home, *parents, loop(home))
    assert node is not None
    with home.database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest, need="weights")
        assert {name.partition("/")[0] for name, *_ in stored.manifest["tensors"]} == {"model"}
        assert "optimizer" not in stored.manifest["state"]
    with pytest.raises(NeverWhole, match="mode weights"):
        home.order(node, mode="exact")
    with pytest.raises(NeverWhole):
        loops.train(home, resume=node.id)


def test_a_branch_trains_on_from_it(home: Home, parents: tuple[Node, Node]) -> None:
    node = merged(home, *parents, loop(home))
    assert node is not None and control.default_mode(node) == "weights"
    launch = home.order(node, {"max_steps": 7}, mode="weights", name="onwards")
    loops.train(home, launch, save_steps=1)
    began, *_, ended = home.nodes("tiny/onwards")[1:]
    assert (began.step, ended.step, ended.kind) == (4, 7, "final")
    expected = weights_of(home, node)
    assert all(
        torch.equal(value, expected[name]) for name, value in weights_of(home, began).items()
    )
    # A fork that was never trained offers the weights, too, and a merge can be merged again.
    waiting = home.fork(home.order(node, {"max_steps": 7}, mode="weights", name="waiting"))
    assert home.order(waiting, name="again").mode == "weights"
    more = merged(home, node, ended, loop(home))
    assert more is not None and more.parent_id == node.id


def test_its_branch_is_continued_with_the_weights(home: Home, parents: tuple[Node, Node]) -> None:
    node = merged(home, *parents, loop(home))
    assert node is not None
    launch = control.continue_branch(
        home.database, home.store, "tiny/merge-1", actor="ann", settings={"max_steps": 6}
    )
    assert (launch.kind, launch.mode, launch.node_id) == ("continue", "weights", node.id)
    loops.train(home, launch)
    assert home.final(launch).step == 6


@pytest.mark.parametrize("options", [{"keep": "thin"}, {"keep": "heads"}, {"drop": "1"}])
def test_no_policy_takes_its_weights(
    options: dict[str, str], home: Home, parents: tuple[Node, Node]
) -> None:
    node = merged(home, *parents, loop(home))
    assert node is not None
    # It is no head any more: its branch goes on.
    launch = control.continue_branch(
        home.database, home.store, "tiny/merge-1", actor="ann", settings={"max_steps": 8}
    )
    loops.train(home, launch)
    before = weights_of(home, node)
    policy = policies.policy(options.get("keep", "all"), drop_optimizer_after=options.get("drop"))
    Sweep(home.database, home.store, {}, "test").run(home.find_run(), policy)
    after = weights_of(home, node)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    for parent in parents:
        control.verify_node(home.database, home.store, parent)


def test_what_both_parents_share_costs_nothing(home: Home) -> None:
    def frozen() -> torch.nn.Module:
        model = loops.net()
        model[0].requires_grad_(False)
        return model

    loops.train(home, model=frozen, max_steps=4, save_steps=2)
    node = merged(home, home.node(2), home.final(), loop(home, model=frozen))
    assert node is not None
    with home.database.read() as connection:
        of_a = nodes.checkpoint(connection, home.node(2).state_digest)
        of_node = nodes.checkpoint(connection, node.state_digest, need="weights")
    digests = [
        {name: digest for name, _, _, digest in stored.manifest["tensors"]}
        for stored in (of_a, of_node)
    ]
    name = "model/0.weight"
    assert digests[0][name] == digests[1][name]
    packs = {location.pack for location in of_node.locations.values()}
    assert of_node.locations[digests[1][name]].pack in {
        location.pack for location in of_a.locations.values()
    }
    assert len(packs) > 1
    # The same once more needs not a byte, and is no less a merge.
    again = merged(home, home.node(2), home.final(), loop(home, model=frozen))
    assert again is not None and again.state_digest == node.state_digest
    with home.database.read() as connection:
        assert nodes.thinned(connection, again.state_digest) == "weights"
        assert integrity.of_database(connection) == []


def test_a_loop_that_reads_its_batches_by_itself_has_the_weights_put_back(
    home: Home, parents: tuple[Node, Node]
) -> None:
    expected = merged(home, *parents, loop(home, evaluate=None))

    def train() -> None:
        import branchtrack

        model = loops.net()
        optimizer = loops.sgd(model)
        with loops.process(home):
            run = branchtrack.start("tiny", model=model, optimizer=optimizer, max_steps=9)
        with run:
            for batch in loops.loader():
                loops.loss_of(model, batch).backward()
                optimizer.step()
                if run.step():
                    break

    node = merged(home, *parents, train)
    assert expected is not None and node is not None
    assert node.state_digest == expected.state_digest


def test_a_trainer_evaluates_a_merge(home: Home) -> None:
    how: dict[str, Any] = {"max_steps": 4, "save_steps": 2}
    home.train(**how)
    a, b = home.node(2), home.final()
    node = merged(home, a, b, lambda: home.train(**how))
    assert node is not None and node.metrics["eval_loss"] is not None
    trainer = tiny.trainer(tiny.BranchingTrainer, home.folder, **how)
    tensors = weights_of(home, node)
    trainer.model.load_state_dict(
        {name: tensors[f"model/{name}"] for name in trainer.model.state_dict()}
    )
    assert trainer.evaluate()["eval_loss"] == pytest.approx(node.metrics["eval_loss"], abs=1e-12)
    launch = home.order(node, {"max_steps": 5}, mode="weights", name="onwards")
    home.train(launch, **how)
    assert home.final(launch).step == 5
    manifest = control.verify_node(home.database, home.store, node, need="weights")
    with home.database.read() as connection:
        stored = nodes.checkpoint(connection, node.state_digest, need="weights")
    files = export(home.store, manifest, stored.locations, home.folder / "exported")
    assert {path.name for path in files} == {"model.safetensors", "state.json", "config.json"}
    # It opens, and there is no training for a stock Trainer to resume.
    facts = {"step": 2, "settings": {}, "param_groups": [], "epochs": None}
    names = {path.name for path in complete(home.folder / "exported", facts)}
    assert "model.safetensors" in names and "optimizer.pt" not in names


def test_a_trainer_without_data_to_evaluate_on_is_merged_all_the_same(home: Home) -> None:
    how: dict[str, Any] = {"max_steps": 4, "save_steps": 2, "evaluated": False}
    home.train(**how)
    node = merged(home, home.node(2), home.final(), lambda: home.train(**how))
    assert node is not None and node.metrics == {}


@pytest.mark.parametrize(
    "how",
    [
        {"model": lambda: torch.nn.Linear(6, 2)},
        {"evaluate": lambda: 1 / 0},
        {"evaluate": lambda: sys.exit(0)},
    ],
)
def test_nothing_is_left_of_a_process_that_fails(
    how: dict[str, Any], home: Home, parents: tuple[Node, Node]
) -> None:
    with home.database.read() as connection:
        before = nodes.list_ids(connection), audit.last_id(connection, parents[0].run_id)
    assert merged(home, *parents, loop(home, **how)) is None
    with home.database.read() as connection:
        assert (nodes.list_ids(connection), audit.last_id(connection, parents[0].run_id)) == before
        assert runs.branch_names(connection, parents[0].run_id) == {"main", "cooler"}


def test_a_parent_that_was_deleted_meanwhile_is_not_merged(
    home: Home, parents: tuple[Node, Node]
) -> None:
    with home.database.transaction() as connection:
        cooler = runs.find_branch(connection, "tiny/cooler")
        trash.put(connection, [cooler], actor="ann", why="")
    assert merged(home, *parents, loop(home)) is None
    control.restore(home.database, "tiny/cooler", actor="ann")
    assert merged(home, *parents, loop(home)) is not None


def test_nothing_is_committed_for_a_process_that_is_gone(
    home: Home, parents: tuple[Node, Node]
) -> None:
    assert merged(home, *parents, loop(home), watcher=1 if os.getppid() != 1 else 2) is None


def test_a_script_that_only_prepares_its_training_commits_nothing(
    home: Home, parents: tuple[Node, Node], capfd: pytest.CaptureFixture[str]
) -> None:
    def train() -> None:
        import branchtrack

        model = loops.net()
        with loops.process(home):
            run = branchtrack.start("tiny", model=model, optimizer=loops.sgd(model), max_steps=9)
        with run:
            raise ValueError("no data")

    assert merged(home, *parents, train) is None
    assert "no data" in capfd.readouterr().err
    with home.database.read() as connection:
        assert runs.branch_names(connection, parents[0].run_id) == {"main", "cooler"}
