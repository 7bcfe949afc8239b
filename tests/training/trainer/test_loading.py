"""A resumed Trainer has its state from the node, any other from its own files."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.training.trainer import resumption, state
from branchtrack.training.trainer.loading import NodeLoading


class Files:
    """What a Trainer itself loads, by name."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def _load_from_checkpoint(self, *_: Any) -> None:
        self.calls.append("model")

    def _load_optimizer_and_scheduler(self, _checkpoint: str | None) -> None:
        self.calls.append("optimizer")

    def _load_rng_state(self, _checkpoint: str | None) -> None:
        self.calls.append("rng")

    def _load_scaler(self, _checkpoint: str | None) -> None:
        self.calls.append("scaler")

    def _load_best_model(self) -> None:
        self.calls.append("best")


class Loading(NodeLoading, Files):
    """The hooks over `Files`."""


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hooks whose restores from a node are noted, too."""
    hooks: Any = Loading()
    hooks._bt_events = SimpleNamespace(
        trainer=hooks,
        commit_root=lambda: hooks.calls.append("root"),
        commit_final=lambda: hooks.calls.append("final"),
    )
    monkeypatch.setattr(resumption, "restore", lambda *_: hooks.calls.append("node"))
    monkeypatch.setattr(resumption, "restore_rng", lambda *_: hooks.calls.append("node's rng"))
    monkeypatch.setattr(state, "restore_scaler", lambda *_: hooks.calls.append("node's scaler"))
    return hooks


def load(trainer: Any) -> list[str]:
    """What is loaded, in a Trainer's order."""
    trainer._load_from_checkpoint("folder")
    trainer._load_optimizer_and_scheduler("folder")
    trainer._load_scaler("folder")
    trainer._load_rng_state("folder")
    calls: list[str] = trainer.calls
    return calls


def resume(trainer: Any, mode: str, *, within: bool) -> None:
    base = SimpleNamespace(mode=mode, snapshot=None)
    trainer._bt_session = SimpleNamespace(base=base)
    trainer._bt_position = SimpleNamespace(began_within=within)


def test_without_a_node_everything_comes_from_files(trainer: Any) -> None:
    assert load(trainer) == ["model", "optimizer", "scaler", "rng"]


def test_a_new_run_has_its_root_once_the_random_state_is_loaded(trainer: Any) -> None:
    trainer._bt_session = SimpleNamespace(base=None)
    trainer._bt_position = SimpleNamespace(before_fetching=nullcontext)
    assert load(trainer)[-2:] == ["rng", "root"]


def test_with_a_node_nothing_comes_from_files(trainer: Any) -> None:
    resume(trainer, "exact", within=False)
    assert load(trainer) == ["node", "node's scaler", "node's rng"]


@pytest.mark.parametrize(("mode", "within"), [("weights", False), ("exact", True)])
def test_random_states_are_restored_where_the_batches_are(
    trainer: Any, mode: str, within: bool
) -> None:
    resume(trainer, mode, within=within)
    assert load(trainer) == ["node", "node's scaler"]


def test_the_final_node_comes_before_the_best_model(trainer: Any) -> None:
    trainer._load_best_model()
    assert trainer.calls == ["final", "best"]
