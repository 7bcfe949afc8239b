"""A folder of its own for each scenario."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty folder with a home."""
    return Shell(tmp_path)
