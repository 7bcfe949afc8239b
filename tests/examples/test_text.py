"""Texts are cut into windows of equal length, which are their own labels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from branchtrack.config import Config
from branchtrack.db import nodes, runs
from branchtrack.db.engine import Database
from branchtrack.environment_variables import HOME_VARIABLE
from branchtrack.examples import text
from branchtrack.training.session import ordinals


def test_a_window_holds_the_bytes_of_its_text() -> None:
    windows = text.windows(["ab" * text.CONTEXT])
    assert len(windows) == 2
    assert bytes(windows[0]["input_ids"].tolist()).decode() == "ab" * (text.CONTEXT // 2)
    assert windows[0]["labels"] is windows[0]["input_ids"]


def test_what_does_not_fill_a_window_is_left_out() -> None:
    assert text.windows(["a" * (text.CONTEXT - 1)]) == []
    assert len(text.windows(["a" * (text.CONTEXT - 1), "b"])) == 1


def test_texts_that_are_not_ascii_stay_within_the_vocabulary() -> None:
    (window,) = text.windows(["ä" * (text.CONTEXT // 2)])
    assert int(window["input_ids"].max()) < 256


@pytest.mark.filterwarnings("ignore:.pin_memory. argument")  # There may be no accelerator.
def test_it_trains_with_the_options_that_the_demonstration_gives(
    sqlite_config: Config,
    sqlite_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(sqlite_config.home))
    options = "--name demo --steps 2 --lr 0.02 --every 1 --output".split()
    monkeypatch.setattr(sys, "argv", ["text.py", *options, str(tmp_path / "output")])
    # Few texts: a whole evaluation costs more than the training.
    monkeypatch.setattr(text, "topics", {name: text.topics[name] for name in [*text.topics][:12]})
    ordinals.reset()
    text.main()
    with sqlite_database.read() as connection:
        stored = nodes.list_of_run(connection, runs.find_run(connection, "demo").id)
    assert {node.kind for node in stored} == {"root", "checkpoint", "final"}
    assert all(node.settings["lr"] > 0 for node in stored)
    assert 1.0 < (stored[0].metrics["eval_loss"] or 0.0) < 6.0
