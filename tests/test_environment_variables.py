"""Variables of branchtrack collide with no others, and the docs describe those that people set."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import environment_variables

NAMES = {
    name: value for name, value in vars(environment_variables).items() if name.endswith("_VARIABLE")
}
DOCS = Path(__file__).parent.parent / "docs"
#: Those that a person sets; the others are given to processes that branchtrack starts.
SET_BY_PEOPLE = ("HOME", "DATABASE", "REQUIRE", "CONTINUE", "DEBUG")


def test_every_variable_has_a_name_of_its_own_under_one_prefix() -> None:
    assert len(set(NAMES.values())) == len(NAMES)
    assert all(value.startswith("BRANCHTRACK_") for value in NAMES.values())


@pytest.mark.parametrize("name", SET_BY_PEOPLE)
def test_a_variable_that_people_set_is_in_the_docs(name: str) -> None:
    texts = (path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    assert any(NAMES[f"{name}_VARIABLE"] in text for text in texts)
