"""Trials that are watched on a terminal, left with Ctrl-C, or handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from branchtrack.checkpoints.packs import Store
from branchtrack.cli import trial_progress
from branchtrack.cli.context import CommandLine
from branchtrack.config import Config
from branchtrack.core.trials.records import Trial
from branchtrack.db.engine import Database
from branchtrack.launching import foreground
from branchtrack.launching import trials as launching
from tests.control.trials import samples
from tests.control.trials.test_advancing import CLEAR


@pytest.fixture
def line(sqlite_config: Config) -> CommandLine:
    return CommandLine(sqlite_config)


@pytest.fixture
def trial(sqlite_database: Database, store: Store) -> Trial:
    samples.grown(sqlite_database, store)
    return samples.ordered(sqlite_database, store)


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What a bar was drawn with."""
    drawn: list[tuple[Any, ...]] = []

    @contextmanager
    def bar(label: str) -> Iterator[Callable[..., None]]:
        yield lambda *values: drawn.append((label, *values))

    monkeypatch.setattr(trial_progress, "bar", bar)
    return drawn


def run_with(monkeypatch: pytest.MonkeyPatch, *looks: Sequence[Trial]) -> None:
    """Have trials be carried out in some looks."""

    def run_trials(worker: Any, ids: Sequence[str], watch: Any) -> list[Trial]:
        for current in looks:
            watch(current)
        return list(looks[-1])

    monkeypatch.setattr(launching, "run_trials", run_trials)


def test_the_bar_counts_updates_and_pairs_and_ends_full(
    line: CommandLine,
    trial: Trial,
    sqlite_database: Database,
    store: Store,
    updates: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled = samples.train_all(sqlite_database, store, trial, *CLEAR)
    run_with(monkeypatch, [trial], [settled])
    ended = trial_progress.train_trials(line, sqlite_database, [trial], 2, quiet=True)
    assert ended == [settled]
    assert updates == [
        ("Trial", 0, 40, "of at most 40 updates, 0 pairs"),
        ("Trial", 30, 30, "of at most 30 updates, 3 pairs"),
    ]


def test_ctrl_c_says_how_it_goes_on(
    line: CommandLine,
    trial: Trial,
    sqlite_database: Database,
    updates: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextmanager
    def interrupts() -> Iterator[list[int]]:
        yield [2]

    monkeypatch.setattr(trial_progress, "interrupts", interrupts)
    run_with(monkeypatch, [trial])
    with pytest.raises(KeyboardInterrupt):
        trial_progress.train_trials(line, sqlite_database, [trial], 2, quiet=False)
    assert f"branchtrack trials {trial.id} --go-on" in capsys.readouterr().err


def test_only_what_is_not_over_is_handed_to_a_worker(
    line: CommandLine,
    trial: Trial,
    sqlite_database: Database,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[str, int]] = []
    monkeypatch.setattr(
        foreground, "detach_queue", lambda _config, name, slots: started.append((name, slots))
    )
    settled = samples.train_all(sqlite_database, store, trial, *CLEAR)
    trial_progress.detach_trials(line, [settled], 2)
    assert started == []
    other = samples.ordered(sqlite_database, store)
    trial_progress.detach_trials(line, [settled, other], 3)
    assert started == [(other.id, 3)]
