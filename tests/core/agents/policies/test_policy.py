"""Options of policies: read from text, refused by name."""

from __future__ import annotations

import inspect

import pytest

from branchtrack.core.agents.policies.early_stop import EarlyStop
from branchtrack.core.agents.policies.policy import Policy
from branchtrack.errors import InvalidInput


def test_options_are_read_from_text() -> None:
    assert EarlyStop.of({"patience": "7"}).options.patience == 7


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"patience": "soon"}, "patience"),
        ({"patience": 0}, "greater than or equal to 1"),
        ({"min_delta": "nan"}, "option.min_delta"),
        ({"speed": 1}, "metric, patience"),
    ],
)
def test_what_an_option_cannot_be_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        EarlyStop.of(values)


def test_a_policy_has_to_decide() -> None:
    assert inspect.isabstract(Policy) and not inspect.isabstract(EarlyStop)
