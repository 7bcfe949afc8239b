"""Runs, and the labels that people give."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from branchtrack.schemas.runs import Certificate, LabelsBody, Run, RunFacts


def test_a_run_has_all_that_its_tree_says_of_it() -> None:
    assert set(RunFacts.model_fields) < set(Run.model_fields)


def test_a_key_that_python_reserves_has_another_name_here() -> None:
    assert Certificate.model_fields["from_node"].alias == "from"


@pytest.mark.parametrize("body", [{"name": 5}, {"archived": "yes"}, {"add_tags": "x"}, {"x": 1}])
def test_what_is_no_label_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LabelsBody.model_validate(body)
