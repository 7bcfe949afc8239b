"""``branchtrack study``: which there are, what is refused, and what is written of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from branchtrack.examples.studies import conduct, registry
from branchtrack.examples.studies.outcome import Outcome
from tests.cli.conftest import Call
from tests.examples.studies import made_up


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that trains nothing, in place of all others."""

    def outcomes(*_arguments: Any, **_more: Any) -> list[Outcome]:
        return made_up.outcomes()

    monkeypatch.setattr(registry, "get", lambda _name: made_up.study())
    monkeypatch.setattr(conduct, "conduct", outcomes)


def test_without_a_name_the_studies_are_listed_with_what_they_take(call: Call) -> None:
    lines = call("study").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(registry.MODULES)
    listed = call("study", "--list", "--json").json
    assert [row["name"] for row in listed] == list(registry.MODULES)
    assert all(0 < row["quick_minutes"] <= 3 and row["minutes"] for row in listed)
    assert all(row["gigabytes"] > 0 for row in listed)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["nothing"], "study"),
        (["human", "--base-url", "http://127.0.0.1:9"], "base_url"),
        (["llm", "--model", "small"], "model"),
    ],
)
def test_what_a_study_does_not_take_is_refused(call: Call, words: list[str], field: str) -> None:
    refusal = call("study", *words, "--json")
    assert refusal.code == 2 and refusal.json["error"]["field"] == field


def test_table_plot_and_trees_are_written_where_they_are_wanted(
    call: Call, made: None, tmp_path: Path
) -> None:
    answer = call("study", "made-up", "--out", str(tmp_path))
    assert answer.code == 0, answer.err
    results = (tmp_path / "RESULTS.md").read_text()
    assert "| low | nothing | 2.100 ± 0.141 |" in results and "1 of 2" in results
    assert f"branchtrack study made-up --out {tmp_path}" in results
    assert (tmp_path / "made-up.svg").read_text().startswith("<?xml")
    assert f"branchtrack --home {tmp_path}/made-up/home serve" in answer.out


def test_json_has_rows_outcomes_and_where_all_of_it_is(
    call: Call, made: None, tmp_path: Path
) -> None:
    facts = call("study", "made-up", "--out", str(tmp_path), "--json").json
    assert facts["seeds"] == [0, 1] and len(facts["outcomes"]) == 6
    assert {row["arm"] for row in facts["rows"]} == {"nothing", "tuned"}
    assert json.dumps(facts, allow_nan=False) and Path(facts["results"]).exists()
