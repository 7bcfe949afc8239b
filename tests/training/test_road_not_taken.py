"""The state of an intervention, trained as if its change had not been made."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack import control
from branchtrack.core.records import Launch
from branchtrack.errors import InvalidInput
from tests.matrices import some
from tests.training import tiny
from tests.training.callbacks import At
from tests.training.homes import Home

AT = 5


def change(home: Home, name: str, kind: str = "set", **payload: Any) -> None:
    """Train a run ``name`` to its end, with a request that is answered at step ``AT``."""
    at = At(AT - 1, lambda: home.ask(kind, f"{name}/main", **payload))
    trainer = tiny.trainer(
        tiny.BranchingTrainer, home.folder, callbacks=lambda: [at], run_name=name, save_steps=3
    )
    at.trainer = trainer
    home.run(trainer)


def without_change(home: Home, node_id: str, **how: Any) -> Launch:
    """Order the road not taken from a node."""
    order = control.ForkOrder([node_id], without_change=True)
    (launch,) = control.create_launches(home.database, home.store, order, actor="ann")
    home.train(launch, **how)
    return launch


@pytest.mark.parametrize(
    ("kind", "payload"),
    some(
        [
            ("set", {"values": {"lr": 5e-3}}),
            ("set", {"values": {"lr": 1e-4, "weight_decay": 0.3}}),
            ("set", {"values": {"dropout": 0.5}}),
            ("set", {"values": {"betas": [0.8, 0.9]}}),
            ("set", {"values": {"max_steps": 20, "horizon": "rescale"}}),
            ("set", {"values": {"lr_scheduler_type": "linear"}}),
            ("freeze", {"modules": "transformer.h.0"}),
        ],
        ("set", {"values": {"lr": 5e-3}}),
        ("freeze", {"modules": "transformer.h.0"}),
    ),
)
def test_it_ends_in_the_bits_of_a_training_that_never_had_the_change(
    home: Home, kind: str, payload: dict[str, Any]
) -> None:
    home.train(run_name="never", save_steps=3)
    change(home, "changed", kind, **payload)
    node = home.node(AT, "changed/main", "intervention")
    launch = without_change(home, node.id, run_name="changed", save_steps=3)
    expected, reached = home.final_of("never"), home.final(launch)
    assert reached.step == expected.step == tiny.STEPS
    assert reached.state_digest == expected.state_digest
    assert home.fork(launch).state_digest == node.state_digest


def test_of_a_fork_it_is_its_parent_trained_on(home: Home) -> None:
    home.train(save_steps=3)
    fork = home.fork(home.resume(home.node(3), {"lr": 1e-2}, save_steps=3))
    launch = without_change(home, fork.id, save_steps=3)
    assert (launch.node_id, launch.overrides) == (home.node(3).id, {})
    assert home.final(launch).state_digest == home.final().state_digest


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("reset", {"modules": "lm_head"}),
        ("set", {"values": {"max_steps": 20, "horizon": "extend"}}),
    ],
)
def test_a_change_that_cannot_be_taken_back_is_refused_and_the_parent_is_offered(
    home: Home, kind: str, payload: dict[str, Any]
) -> None:
    change(home, "changed", kind, **payload)
    node = home.node(AT, "changed/main", "intervention")
    with pytest.raises(InvalidInput) as caught:
        without_change(home, node.id)
    assert "cannot be taken back" in caught.value.what
    assert f"branchtrack resume {node.parent_id}" in caught.value.fix
