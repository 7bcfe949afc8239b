"""Every study is there by its name, and can say how large it is without training."""

from __future__ import annotations

import pytest

from branchtrack.errors import InvalidInput
from branchtrack.examples.studies import registry
from branchtrack.examples.studies.study import Study

STUDIES = list(registry.listed())


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_study_has_three_seeds_and_a_quick_variant(study: Study) -> None:
    full, quick = study.plan(False, None), study.plan(True, None)
    assert len(full.seeds) >= 3 and not full.quick and quick.quick
    assert len(list(study.cells(quick))) < len(list(study.cells(full)))
    assert len({*study.plan(False, 5).seeds}) == 5


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_names_of_trainings_are_told_apart(study: Study) -> None:
    assert study.name in registry.MODULES and study.expected[0] <= 3
    names = [cell.name for cell in study.cells(study.plan(False, 12))]
    # A half-trained run is found by the name of its cell, or one that begins with it.
    clashes = [(a, b) for a in names for b in names if b.startswith(f"{a}-")]
    assert len(set(names)) == len(names) and clashes == []


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InvalidInput, match="llm"):
        registry.get("nothing")
