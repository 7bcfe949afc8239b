"""A section says how it was made, and replaces its former one alone."""

from __future__ import annotations

from pathlib import Path

from branchtrack.examples.studies import report
from branchtrack.examples.studies.report import Conditions
from tests.examples.studies.made_up import outcomes, plan, study

CONDITIONS = Conditions("branchtrack study made-up", "2026-11-29", "2 cores", "torch 2")


def body(quick: bool = False) -> str:
    return report.section(
        study(), plan(quick), outcomes(), CONDITIONS, ["Known reason."], "studies/made-up/home"
    )


def test_a_section_says_how_it_was_made() -> None:
    text = body()
    for words in ("`branchtrack study made-up`", "Seeds 0, 1", "2 cores", "torch 2", "2026-11-29"):
        assert words in text
    assert "- Known reason." in text and "(made-up.svg)" in text and "quick" not in text


def test_a_quick_section_says_so() -> None:
    assert "## Made up (quick)" in body(quick=True)


def test_every_training_is_named_with_its_run_and_branch() -> None:
    text = body()
    assert "branchtrack --home studies/made-up/home serve" in text
    assert "| any | tuned | 1 | 1.7000 | `tuned-1/main` |" in text
    assert "| high | nothing | 0 | diverged |" in text


def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    for name, text in (("first", "one"), ("second", "two"), ("first", "new")):
        results, _ = report.write(tmp_path, name, text, "<svg/>")
    written = results.read_text(encoding="utf-8")
    assert written.startswith("# Results of the case studies")
    assert "one" not in written.split() and written.index("new") < written.index("two")
    assert written.count("<!-- study first -->") == 1
    assert (tmp_path / "second.svg").read_text(encoding="utf-8") == "<svg/>"


def test_the_conditions_of_this_process_name_versions_and_cores() -> None:
    here = Conditions.here("branchtrack study llm")
    assert "torch" in here.versions and "cores" in here.machine
