"""Conditions on the newest values of metrics: the part of the language that a training can judge.

``eval_loss<2.5``, ``loss<3 and step>=100``: comparisons of metrics, or of ``step``, with numbers,
joined by and, or, not. It knows no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from branchtrack.core.queries.evaluation import Facts, holds
from branchtrack.core.queries.language import parse as parse_query
from branchtrack.core.queries.terms import Comparison, Name, Term, walk
from branchtrack.errors import InvalidInput

ALLOWED = "comparisons of metrics or step with numbers, as eval_loss<2.5 or loss<3 and step>=100"


def parse(text: Any, field: str) -> Term:
    """Return a condition; ``field`` is what an error calls it.

    Raises:
        InvalidInput: it cannot be read, is empty, or asks for anything but metrics.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(field, text, ALLOWED)
    try:
        term = parse_query(text)
    except InvalidInput as error:
        raise InvalidInput(field, text, f"{ALLOWED}; here {error.allowed}") from error
    for leaf in walk(term):
        if not _is_of_metric(leaf):
            raise InvalidInput(field, text, ALLOWED, what=f"{field}: {leaf} is not about a metric.")
    return term


def is_met(term: Term, metrics: Mapping[str, Any], step: int) -> bool:
    """Return whether a condition holds for the newest values; one not logged yet is unknown."""
    return holds(term, Facts(now=0.0, step=step, metrics=metrics)) is True


def _is_of_metric(leaf: Any) -> bool:
    if not isinstance(leaf, Comparison) or not isinstance(leaf.subject, Name):
        return False
    is_number = isinstance(leaf.literal, float) and not isinstance(leaf.literal, bool)
    return is_number and leaf.subject.scope != "setting"
