"""Every case study in its quick variant, by the released command: table, plot, and trees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from branchtrack.examples.studies import registry

pytestmark = pytest.mark.scenario


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", list(registry.MODULES))
def test_a_quick_study_trains_all_of_its_arms_and_writes_what_came_of_them(
    name: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "branchtrack", "study", name, "--quick", "--json"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr[-4000:]
    facts = json.loads(done.stdout)
    study = registry.get(name)
    assert {row["arm"] for row in facts["rows"]} == {arm.name for arm in study.arms}
    assert all(outcome["steps"] <= facts["steps"] for outcome in facts["outcomes"])
    assert "about" in done.stderr and "left" in done.stderr
    results = (tmp_path / "RESULTS.md").read_text()
    assert f"![{study.title}" in results and "(quick)" in results
    assert (tmp_path / f"{name}.svg").stat().st_size < 150_000
    check = [sys.executable, "-m", "branchtrack", "--home", facts["home"], "verify", "--all"]
    verified = subprocess.run(check, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout[-2000:] + verified.stderr[-2000:]
