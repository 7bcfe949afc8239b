"""Matrices of cases: some stand for all with every change, the others run in `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some(cases: Iterable[Any], *chosen: Any) -> list[Any]:
    """Return ``cases`` as parameters of which all but those in ``chosen`` are exhaustive.

    Choose one of each kind: what fails alone must be among them. Cases are strings, tuples for
    several names, or equal to those chosen; a chosen one that does not exist is an error.
    """
    parameters = list(cases)
    assert all(case in parameters for case in chosen), f"{chosen} are not all in {parameters}"
    return [case if case in chosen else _exhaustive(case) for case in parameters]


def _exhaustive(case: Any) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.exhaustive)
