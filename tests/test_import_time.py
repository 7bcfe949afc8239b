"""What importing loads: a command that prints a table must not wait for torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "accelerate", "sqlalchemy", "alembic", "flask", "numpy")
TRAINING = ("torch", "transformers", "accelerate")


def loaded_by(module: str) -> set[str]:
    """Top-level modules in memory once a fresh interpreter has imported ``module``."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_importing_branchtrack_loads_nothing_heavy() -> None:
    loaded = loaded_by("branchtrack")
    assert "branchtrack" in loaded
    assert loaded & set(HEAVY) == set()


@pytest.mark.parametrize("module", ["branchtrack.cli.main", "branchtrack.web.app"])
def test_commands_and_pages_never_load_torch(module: str) -> None:
    assert loaded_by(module) & set(TRAINING) == set()


def test_the_store_is_read_without_torch_or_sql() -> None:
    loaded = loaded_by("branchtrack.checkpoints.export")
    assert loaded & {*TRAINING, "sqlalchemy"} == set()
