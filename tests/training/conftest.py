"""Homes to train in: one for each test, or one for a module whose tests only look."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from branchtrack.training.record import intervals
from tests.training.homes import Home


@pytest.fixture(autouse=True)
def _frozen() -> None:
    """Each training collects garbage or looks through all objects: those of before are no matter.

    Beside a test's own there are some hundred thousand, of torch and of transformers.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes seconds for a flush is slow, not broken; tests of broken ones say so."""
    monkeypatch.setattr(intervals, "PATIENCE_SECONDS", 60.0)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An empty home of the test's own."""
    made = Home(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """An empty home for a whole module."""
    made = Home(tmp_path_factory.mktemp("shared"))
    yield made
    made.close()
