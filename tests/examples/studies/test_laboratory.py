"""The laboratory trains in processes of its own home, with agents that look at every evaluation."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from branchtrack import control, trust
from branchtrack.db import runs
from branchtrack.errors import LaunchFailed, NotFound
from branchtrack.examples.studies.laboratory import Laboratory
from tests.examples.studies.made_up import plan


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    opened = Laboratory(tmp_path, plan())
    yield opened
    opened.close()
    opened.database.close()


def test_its_home_is_its_own_and_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANCHTRACK_DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    laboratory = Laboratory(tmp_path / "study", plan())
    assert laboratory.config.database_url.endswith("study/home/branchtrack.db")
    assert trust.is_trusted(laboratory.config)
    laboratory.database.close()


@pytest.mark.timeout(600)
def test_an_agent_watches_a_training_and_what_it_did_is_in_the_record(
    laboratory: Laboratory,
) -> None:
    words = ["--policy", "plateau", "--mode", "act", "--option", "patience=1"]
    # Nothing is ever an improvement by so much.
    words += ["--option", "min_delta=0.99", "--option", "metric=eval_loss"]
    training = laboratory.train("digits", "digits-s0", agent=words, steps=8, every=2, lr=1e-4)
    assert (training.run, training.steps) == ("digits-s0", 8)
    assert training.interventions >= 1 and 0 < training.test_loss < 3
    assert [x for x, _ in training.curve] == [0, 2, 4, 6, 8]


def test_a_training_that_fails_says_why_and_where_its_log_is(laboratory: Laboratory) -> None:
    with pytest.raises(LaunchFailed, match="bad"):
        laboratory.train("digits", "bad", schedule="square")
    assert "--schedule" in laboratory.log("bad").read_text()


def test_what_runs_ends_with_it_and_nothing_begins_after(laboratory: Laboratory) -> None:
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    with laboratory.process(sleeps, "long") as process:
        began = time.monotonic()
        laboratory.close()
        assert process.poll() is not None and time.monotonic() - began < 60
    with pytest.raises(KeyboardInterrupt), laboratory.process(sleeps, "late"):
        pass


def test_what_an_interrupted_study_left_goes_to_the_trash(laboratory: Laboratory) -> None:
    with laboratory.database.transaction() as connection:
        for name in ("arm-s1", "arm-s1-2", "arm-s10"):
            runs.create_run(connection, name, actor=control.local_actor())
    for _ in range(2):
        laboratory.forget("arm-s1")
    with laboratory.database.read() as connection:
        assert runs.find_run(connection, "arm-s10").name == "arm-s10"
        for name in ("arm-s1", "arm-s1-2"):
            with pytest.raises(NotFound, match="trash"):
                runs.find_run(connection, name)
