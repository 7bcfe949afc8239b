"""Values that travel between layers say the few things that they derive."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from branchtrack.core.records import Certificate, Change, Run


def run(entry_point: dict[str, Any] | None) -> Run:
    return Run("a", "digits", "main", entry_point, [], "", 1.0, 1.0)


def certificate(difference: dict[str, Any] | None) -> Certificate:
    return Certificate("a", "r", "b", "from", "to", "d", difference, [], {}, "me", 1.0)


def test_a_change_says_where_it_took_effect_only_if_that_is_not_its_node() -> None:
    assert Change("lr", 1, 2).as_dict() == {"name": "lr", "before": 1, "after": 2}
    assert Change("lr", 1, 2, 0).as_dict()["step"] == 0


def test_a_run_of_an_earlier_version_knows_nothing_of_its_script() -> None:
    assert run(None).training == run({"argv": []}).training == run({"training": None}).training
    assert run({"training": {"number": 2}}).training == {"number": 2}


def test_a_certificate_without_a_difference_is_exact() -> None:
    assert certificate(None).exact and not certificate({"name": "model/w"}).exact


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        run(None).name = "other"
