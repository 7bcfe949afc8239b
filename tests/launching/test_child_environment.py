"""The environment of a launched process is compared with the node's, and what differs is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from branchtrack.config import load
from branchtrack.core.records import Launch
from branchtrack.core.variables import Comparison
from branchtrack.launching import child_environment

NAME = "MY_SCALE"


def launch(**environment: Any) -> Launch:
    facts: dict[str, Any] = dict.fromkeys(Launch.__dataclass_fields__)
    return Launch(**{**facts, "environment": environment or None})


def test_without_a_record_there_is_nothing_to_restore() -> None:
    assert child_environment.compared(None, launch()) == Comparison()


def test_a_variable_that_the_nodes_process_had_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(NAME, raising=False)
    before = {"values": {NAME: "3"}, "secrets": {}}
    assert child_environment.compared(before, launch()).variables == {NAME: "3"}
    monkeypatch.setenv(NAME, "4")
    assert child_environment.compared(before, launch()).replaced == {NAME: "3"}
    assert child_environment.compared(before, launch(keep=True)).variables == {}


def test_a_variable_that_was_chosen_is_given_even_where_the_environment_is_kept() -> None:
    order = launch(given={NAME: "3"}, keep=True)
    assert child_environment.compared({"values": {}, "secrets": {}}, order).variables == {NAME: "3"}


def test_the_log_of_a_launch_begins_with_what_differs(tmp_path: Path) -> None:
    config, log = load(tmp_path / "home"), tmp_path / "launch.log"
    child_environment.log_differences(Comparison(), config, log)
    assert not log.exists()
    child_environment.log_differences(
        Comparison(given_back={NAME: "3"}, missing=("API_KEY",)), config, log
    )
    lines = log.read_text().splitlines()
    assert len(lines) == 2 and all(line.startswith("branchtrack: ") for line in lines)
    assert f"{NAME}=3" in lines[0] and "API_KEY" in lines[1]
